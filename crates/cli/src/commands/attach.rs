//! `sockeye attach`: what an app writes is shown, and what is typed goes to its standard input. Ctrl-C leaves it running.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;

use crate::apps::{Shape, say, say_json, tail};
use crate::daemon::store;
use crate::exit;
use crate::holder;
use crate::keeper::words::Question;
use crate::talk;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// A name or an id
    #[arg(value_name = "APP")]
    app: String,
    #[command(flatten)]
    shape: Shape,
}

/// How often files are looked at for more.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a keeper may take to write a line.
const INPUT_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    let registry = store::read(&places.list())?;
    let targets = registry.select(std::slice::from_ref(&flags.app)).map_err(|error| anyhow!(error))?;
    let &[target] = &targets[..] else {
        bail!("attach is for one app, {} are called {}", targets.len(), flags.app)
    };
    let place = target.place.unwrap_or_default();
    let mut tails = tail::tails(std::slice::from_ref(&flags.app), &places)?;
    for tail in &mut tails {
        tail.last(0)?;
    }
    let json = flags.shape.json;
    // Ends with this program.
    std::thread::spawn(move || {
        loop {
            for tail in &mut tails {
                for line in tail.more().unwrap_or_default() {
                    match json {
                        true => say_json(&tail.object(&line)),
                        false => say(&tail.marked(&line)),
                    }
                }
            }
            std::thread::sleep(PAUSE);
        }
    });
    for line in io::stdin().lock().lines() {
        let question = Question::Input { place, text: format!("{}\n", line?) };
        talk::ask::<_, ()>(&places.keeper(target.key), &question, INPUT_TIMEOUT)?;
    }
    // What answers the last line is still shown.
    std::thread::sleep(PAUSE * 4);
    Ok(ExitCode::from(exit::OK))
}
