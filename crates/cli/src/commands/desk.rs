//! The commands about the list as a whole and the daemon: `ping`, `kill`, `save`, `resurrect`.

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::apps::{self, Shape, say, say_json};
use crate::daemon::store;
use crate::daemon::words::{Done, Question};
use crate::exit;
use crate::holder;

/// What was typed.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(flatten)]
    shape: Shape,
}

/// Whether a daemon answers; none is started.
pub(crate) fn ping(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    let is_awake = apps::is_awake(&places)?;
    let lost = if is_awake { None } else { apps::lost(&places)? };
    match (flags.shape.json, is_awake) {
        (true, _) => say_json(&json!({ "running": is_awake })),
        (false, true) => say("pong"),
        (false, false) => {
            let none = || "no daemon runs; apps that were started go on without it".to_owned();
            return Ok(exit::complain(exit::FAILED, &lost.map_or_else(none, |lost| lost.lost(&places))));
        }
    }
    Ok(ExitCode::from(if is_awake { exit::OK } else { exit::FAILED }))
}

/// Ends all apps and the daemon. One that does not run is started for it: apps may run without it.
pub(crate) fn kill(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    if !apps::is_awake(&places)?
        && let Some(lost) = apps::lost(&places)?
    {
        // The next one takes the place of it, and ends all that it left.
        lost.end()?;
    }
    if !apps::is_awake(&places)? && store::read(&places.list())?.apps.iter().all(|app| app.keeper.is_none()) {
        return Ok(apps::conclude(&places, flags.shape, Ok(Done::default())));
    }
    let outcome = apps::ask(&places, &Question::Kill);
    if outcome.is_ok() {
        apps::await_end(&places)?;
    }
    Ok(apps::conclude(&places, flags.shape, outcome))
}

/// Writes down what runs, for `resurrect`.
pub(crate) fn save(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    places.make()?;
    let registry = store::read(&places.list())?;
    let running = registry.apps.iter().filter(|app| app.wanted).count();
    if running == 0 {
        bail!("no app runs, so there is nothing to save: what was saved before is kept");
    }
    store::write(&places.saved(), &registry)?;
    let path = places.saved();
    match flags.shape.json {
        true => say_json(&json!({ "saved": running, "file": path })),
        false => say(&format!("saved {running} apps in {}", path.display())),
    }
    Ok(ExitCode::from(exit::OK))
}

/// Starts what was saved and does not run.
pub(crate) fn resurrect(flags: &Flags) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    let saved = store::read(&places.saved())?;
    let wanted: Vec<_> = saved.apps.into_iter().filter(|app| app.wanted).collect();
    if wanted.is_empty() {
        bail!("nothing was saved: sockeye save writes down what runs");
    }
    // The daemon may bring some back by itself.
    apps::ask(&places, &Question::Turn)?;
    let registry = store::read(&places.list())?;
    let runs = |name: &str| registry.named(name).is_some_and(|app| app.wanted || app.keeper.is_some());
    let launches: Vec<_> = wanted
        .iter()
        .filter(|app| !runs(&app.launch.name))
        .map(|app| {
            let mut launch = app.launch.clone();
            if launch.is_cluster() {
                launch.spec.instances = app.instances.to_string().parse().ok();
            }
            launch
        })
        .collect();
    let outcome = match launches.is_empty() {
        true => Ok(Done::default()),
        false => apps::ask(&places, &Question::Start { launches }),
    };
    Ok(apps::conclude(&places, flags.shape, outcome))
}
