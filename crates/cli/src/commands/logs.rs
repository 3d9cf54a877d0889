//! `sockeye logs`: the last lines of log files, and what comes after them. It reads the files: no daemon and no keeper has to do anything for it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap::Args;
use serde_json::json;
use sockeye_supervisor::{Stream, log};

use crate::daemon::store;
use crate::exit;
use crate::places::Places;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Names, ids, namespaces [default: all]
    #[arg(value_name = "APP")]
    targets: Vec<String>,
    /// How many lines of each file are shown first
    #[arg(long, visible_alias = "tail", value_name = "N", default_value = "15")]
    lines: usize,
    /// Go on with what comes [default: at a terminal]
    #[arg(long, short)]
    follow: bool,
    /// End after the last lines
    #[arg(long, visible_alias = "nostream", conflicts_with = "follow")]
    no_follow: bool,
    /// Standard error alone
    #[arg(long)]
    err: bool,
    /// Standard output alone
    #[arg(long, conflicts_with = "err")]
    out: bool,
    /// Only lines that contain this
    #[arg(long, visible_alias = "highlight", value_name = "TEXT")]
    grep: Option<String>,
    /// The lines alone, without whose they are
    #[arg(long)]
    raw: bool,
    /// A JSON object a line; its keys are in docs/commands.md
    #[arg(long, conflicts_with = "raw")]
    json: bool,
}

/// How often files are looked at for more.
const PAUSE: Duration = Duration::from_millis(50);

/// How far back lines are looked for; of longer ones fewer are shown.
const TAIL_BYTES_MAX: u64 = 16 << 20;

pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = Places::of_environment()?;
    let mut tails = tails(flags, &places)?;
    for tail in &mut tails {
        for line in tail.last(flags.lines)? {
            if tail.show(&line, flags).is_err() {
                return Ok(ExitCode::from(exit::OK));
            }
        }
    }
    let follows = flags.follow || (!flags.no_follow && io::stdout().is_terminal());
    if !follows {
        return Ok(ExitCode::from(exit::OK));
    }
    loop {
        for tail in &mut tails {
            for line in tail.more()? {
                if tail.show(&line, flags).is_err() {
                    return Ok(ExitCode::from(exit::OK));
                }
            }
        }
        for fresh in self::tails(flags, &places)? {
            // Of apps and instances that came meanwhile everything is shown.
            if !tails.iter().any(|tail| tail.path == fresh.path) {
                tails.push(fresh);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

/// A file for each stream of each instance that was named.
fn tails(flags: &Flags, places: &Places) -> anyhow::Result<Vec<Tail>> {
    let registry = store::read(&places.list())?;
    let all = ["all".to_owned()];
    let words = if flags.targets.is_empty() { &all[..] } else { &flags.targets };
    let mut tails = Vec::new();
    for target in registry.select(words).map_err(|error| anyhow!(error))? {
        let Some(app) = registry.app(target.key) else { continue };
        let asked = app.ids.keys().filter(|place| target.place.is_none_or(|asked| asked == **place));
        for place in asked {
            for stream in [Stream::Out, Stream::Error] {
                if (flags.err && stream == Stream::Out) || (flags.out && stream == Stream::Error) {
                    continue;
                }
                let path = log::path(&app.launch.name, &app.launch.spec.log, &places.logs(), *place, stream);
                tails.push(Tail {
                    name: app.launch.name.clone(),
                    place: *place,
                    stream,
                    path,
                    open: None,
                    begun: Vec::new(),
                });
            }
        }
    }
    Ok(tails)
}

/// A log file that is read.
struct Tail {
    name: String,
    place: u32,
    stream: Stream,
    path: PathBuf,
    open: Option<BufReader<File>>,
    /// A line without its end so far.
    begun: Vec<u8>,
}

impl Tail {
    /// The last lines; reading goes on behind them.
    fn last(&mut self, lines: usize) -> io::Result<Vec<String>> {
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
        Ok(last.into())
    }

    /// What came since. A file that was put away is read to its end before the next one is opened.
    fn more(&mut self) -> io::Result<Vec<String>> {
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

    fn show(&self, line: &str, flags: &Flags) -> io::Result<()> {
        if flags.grep.as_ref().is_some_and(|text| !line.contains(text)) {
            return Ok(());
        }
        let stream = match self.stream {
            Stream::Out => "out",
            Stream::Error => "error",
        };
        let mut to = io::stdout().lock();
        match (flags.json, flags.raw) {
            (true, _) => {
                let object =
                    json!({ "app": self.name, "instance": self.place, "stream": stream, "line": line });
                writeln!(to, "{object}")
            }
            (false, true) => writeln!(to, "{line}"),
            (false, false) => {
                let mark = if self.stream == Stream::Error { "!" } else { "|" };
                writeln!(to, "{}|{} {mark} {line}", self.place, self.name)
            }
        }
    }
}
