//! `sockeye logs`: the last lines of log files, and what comes after them. It reads the files: no daemon and no keeper has to do anything for it.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use sockeye_supervisor::Stream;
use sockeye_supervisor::clock::Civil;

use crate::apps::tail::{self, Tail};
use crate::exit;
use crate::holder;
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
    /// Begin each line that comes with the time at which it was read; `start --time` has the file say when it was written
    #[arg(long)]
    timestamp: bool,
    /// A JSON object a line; its keys are in docs/commands.md
    #[arg(long, conflicts_with = "raw")]
    json: bool,
}

/// How often files are looked at for more.
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    let mut tails = flags.tails(&places)?;
    for tail in &mut tails {
        for line in tail.last(flags.lines)? {
            if flags.show(tail, &line, None).is_err() {
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
                let time = flags.timestamp.then(|| Civil::of(SystemTime::now()).to_string());
                if flags.show(tail, &line, time.as_deref()).is_err() {
                    return Ok(ExitCode::from(exit::OK));
                }
            }
        }
        for fresh in flags.tails(&places)? {
            // Of apps and instances that came meanwhile everything is shown.
            if !tails.iter().any(|tail| tail.path == fresh.path) {
                tails.push(fresh);
            }
        }
        std::thread::sleep(PAUSE);
    }
}

impl Flags {
    fn wants(&self, stream: Stream) -> bool {
        !(self.err && stream == Stream::Out || self.out && stream == Stream::Error)
    }

    fn tails(&self, places: &Places) -> anyhow::Result<Vec<Tail>> {
        let mut tails = tail::tails(&self.targets, places)?;
        tails.retain(|tail| self.wants(tail.stream));
        Ok(tails)
    }

    fn show(&self, tail: &Tail, line: &str, time: Option<&str>) -> io::Result<()> {
        if self.grep.as_ref().is_some_and(|text| !line.contains(text)) {
            return Ok(());
        }
        let mut to = io::stdout().lock();
        match (self.json, self.raw) {
            (true, _) => {
                let mut object = tail.object(line);
                if let Some(time) = time {
                    object["time"] = time.into();
                }
                writeln!(to, "{object}")
            }
            (false, is_raw) => {
                let line = if is_raw { line.to_owned() } else { tail.marked(line) };
                match time {
                    Some(time) => writeln!(to, "{time} {line}"),
                    None => writeln!(to, "{line}"),
                }
            }
        }
    }
}
