//! Log files as they are read: the last lines, and what comes after them, through rotations.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde_json::{Value, json};
use sockeye_supervisor::{Stream, log};

use crate::daemon::store;
use crate::places::Places;

/// How far back lines are looked for; of longer ones fewer are shown.
const TAIL_BYTES_MAX: u64 = 16 << 20;

/// A file for each stream of each instance that is named; of all where none is.
pub(crate) fn tails(targets: &[String], places: &Places) -> anyhow::Result<Vec<Tail>> {
    let registry = store::read(&places.list())?;
    let all = ["all".to_owned()];
    let words = if targets.is_empty() { &all[..] } else { targets };
    let mut tails: Vec<Tail> = Vec::new();
    for target in registry.select(words).map_err(|error| anyhow!(error))? {
        let Some(app) = registry.app(target.key) else { continue };
        let asked = app.ids.keys().filter(|place| target.place.is_none_or(|asked| asked == **place));
        for place in asked {
            for stream in [Stream::Out, Stream::Error] {
                let path = log::path(&app.launch.name, &app.launch.spec.log, &places.logs(), *place, stream);
                // Several may write to one file, which has each line once.
                if tails.iter().any(|tail| tail.path == path) {
                    continue;
                }
                let name = app.launch.name.clone();
                tails.push(Tail { name, place: *place, stream, path, open: None, begun: Vec::new() });
            }
        }
    }
    Ok(tails)
}

/// A log file that is read.
pub(crate) struct Tail {
    pub(crate) name: String,
    pub(crate) place: u32,
    pub(crate) stream: Stream,
    pub(crate) path: PathBuf,
    open: Option<BufReader<File>>,
    /// A line without its end so far.
    begun: Vec<u8>,
}

impl Tail {
    /// The last lines, through what was put away; reading goes on behind them.
    pub(crate) fn last(&mut self, lines: usize) -> io::Result<Vec<String>> {
        let mut last = VecDeque::new();
        let Ok(mut file) = File::open(&self.path) else { return Ok(Vec::new()) };
        let size = file.metadata()?.len();
        let from = size.saturating_sub(TAIL_BYTES_MAX);
        file.seek(SeekFrom::Start(from))?;
        self.open = Some(BufReader::new(file));
        let mut all = self.read()?;
        if from > 0 && !all.is_empty() {
            all.remove(0);
        }
        for line in all {
            if last.len() == lines {
                last.pop_front();
            }
            if lines > 0 {
                last.push_back(line);
            }
        }
        // Of a file of which only the end was read, what stands before it is not the line before.
        if from == 0 && last.len() < lines {
            let mut all = log::past_lines(&self.path, lines - last.len());
            all.extend(last);
            return Ok(all);
        }
        Ok(last.into())
    }

    /// What came since. A file that was put away is read to its end before the next one is opened.
    pub(crate) fn more(&mut self) -> io::Result<Vec<String>> {
        let mut lines = self.read()?;
        if self.is_another() {
            lines.extend(self.read()?);
            for path in self.skipped() {
                self.open = File::open(path).ok().map(BufReader::new);
                lines.extend(self.read()?);
            }
            self.open = File::open(&self.path).ok().map(BufReader::new);
            lines.extend(self.read()?);
        }
        Ok(lines)
    }

    fn read(&mut self) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        let Some(open) = &mut self.open else { return Ok(lines) };
        // A file that was emptied begins anew.
        let (position, size) = (open.stream_position()?, open.get_ref().metadata()?.len());
        if position > size {
            open.seek(SeekFrom::Start(0))?;
        }
        loop {
            let read = open.by_ref().read_until(b'\n', &mut self.begun)?;
            if read == 0 || !self.begun.ends_with(b"\n") {
                return Ok(lines);
            }
            self.begun.pop();
            lines.push(String::from_utf8_lossy(&self.begun).into_owned());
            self.begun.clear();
        }
    }

    /// Whether another file than the open one lies at the path.
    fn is_another(&self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let there = std::fs::metadata(&self.path).ok().map(identity);
        let open = self.open.as_ref().and_then(|open| open.get_ref().metadata().ok()).map(identity);
        there.is_some() && there != open
    }

    /// Files that were put away after the open one, where several were within one pause; a compressed one is passed over.
    fn skipped(&self) -> Vec<PathBuf> {
        let Some(open) = self.open.as_ref().and_then(|open| open.get_ref().metadata().ok()) else {
            return Vec::new();
        };
        let is_open = |path: &Path| std::fs::metadata(path).is_ok_and(|there| there.ino() == open.ino());
        let past = log::past(&self.path);
        let Some(index) = past.iter().position(|path| is_open(path)) else { return Vec::new() };
        past[index + 1..]
            .iter()
            .filter(|path| path.extension().is_none_or(|ending| ending != "gz"))
            .cloned()
            .collect()
    }

    /// A line for programs.
    pub(crate) fn object(&self, line: &str) -> Value {
        let stream = match self.stream {
            Stream::Out => "out",
            Stream::Error => "error",
        };
        json!({ "app": self.name, "instance": self.place, "stream": stream, "line": line })
    }

    /// A line with whose it is.
    pub(crate) fn marked(&self, line: &str) -> String {
        let mark = if self.stream == Stream::Error { "!" } else { "|" };
        format!("{}|{} {mark} {line}", self.place, self.name)
    }
}
