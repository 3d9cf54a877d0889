//! The commands that change apps of the list: `stop`, `restart`, `reload`, `delete`, `scale`, `signal`, `flush`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use sockeye_supervisor::{Launch, PROFILE_VARIABLE, StopSignal};

use crate::apps::{self, Pm2, Shape, Targets};
use crate::daemon::store;
use crate::daemon::words::Question;
use crate::processes;

use super::start;
use crate::holder;

/// Which apps, and nothing more.
#[derive(Debug, Args)]
pub(crate) struct Plain {
    #[command(flatten)]
    targets: Targets,
    /// Of a process file, only these apps
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    pm2: Pm2,
    #[command(flatten)]
    shape: Shape,
}

/// For `restart` and `reload`.
#[derive(Debug, Args)]
pub(crate) struct Again {
    #[command(flatten)]
    targets: Targets,
    /// Of a process file, only these apps
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Use the variables of this profile of the process file
    #[arg(long, value_name = "PROFILE")]
    env: Option<String>,
    /// Keep the environment as it was; else that of this shell is taken
    #[arg(long)]
    keep_env: bool,
    /// Of `start`: it is kept with the app
    #[arg(long, hide = true, value_name = "TIME")]
    drain: Option<String>,
    #[command(flatten)]
    pm2: Pm2,
    #[command(flatten)]
    shape: Shape,
}

/// For `scale`.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// A name
    #[arg(value_name = "APP")]
    app: String,
    /// How many: 4, +1 or -1
    #[arg(value_name = "N", allow_hyphen_values = true)]
    number: String,
    #[command(flatten)]
    shape: Shape,
}

/// For `signal`.
#[derive(Debug, Args)]
pub(crate) struct SignalFlags {
    /// Such as SIGUSR2, usr2 or 12
    signal: StopSignal,
    #[command(flatten)]
    targets: Targets,
    #[command(flatten)]
    shape: Shape,
}

/// For `flush`: all where none is named.
#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Names, ids, namespaces [default: all]
    #[arg(value_name = "APP")]
    targets: Vec<String>,
    #[command(flatten)]
    shape: Shape,
}

pub(crate) fn stop(flags: Plain) -> anyhow::Result<ExitCode> {
    ask(flags.shape, &Question::Stop { targets: flags.known()? })
}

pub(crate) fn delete(flags: Plain) -> anyhow::Result<ExitCode> {
    ask(flags.shape, &Question::Delete { targets: flags.known()? })
}

pub(crate) fn restart(flags: Again) -> anyhow::Result<ExitCode> {
    again(flags, false)
}

pub(crate) fn reload(flags: Again) -> anyhow::Result<ExitCode> {
    again(flags, true)
}

pub(crate) fn scale(flags: Scale) -> anyhow::Result<ExitCode> {
    ask(flags.shape, &Question::Scale { target: flags.app, number: flags.number })
}

pub(crate) fn signal(flags: SignalFlags) -> anyhow::Result<ExitCode> {
    ask(flags.shape, &Question::Signal { targets: flags.targets.targets, signal: flags.signal })
}

pub(crate) fn flush(flags: Flush) -> anyhow::Result<ExitCode> {
    let targets = if flags.targets.is_empty() { vec!["all".to_owned()] } else { flags.targets };
    ask(flags.shape, &Question::Flush { targets })
}

fn again(flags: Again, reload: bool) -> anyhow::Result<ExitCode> {
    if let Some(drain) = &flags.drain {
        bail!(
            "--drain is said at the start and kept with the app: sockeye delete it, and sockeye start … --drain {drain}; or say drain in its process file"
        );
    }
    if flags.keep_env && flags.env.is_some() {
        bail!("--keep-env and --env PROFILE contradict each other: leave one out");
    }
    let mut env = apps::environment();
    let (targets, launches) = files(&flags.targets.targets, flags.env.as_deref(), &flags.only, &env)?;
    if let Some(profile) = flags.env {
        env.insert(PROFILE_VARIABLE.to_owned(), profile);
    }
    let env = (!flags.keep_env).then_some(env);
    ask(flags.shape, &Question::Restart { targets, reload, launches, env })
}

impl Plain {
    /// Of process files the apps that are in the list.
    fn known(&self) -> anyhow::Result<Vec<String>> {
        let (mut targets, launches) = files(&self.targets.targets, None, &self.only, &BTreeMap::new())?;
        let registry = store::read(&holder::places()?.list())?;
        let is_unknown = |word: &String| {
            launches.iter().any(|launch| launch.name == *word) && registry.named(word).is_none()
        };
        targets.retain(|word| !is_unknown(word));
        if targets.is_empty() {
            bail!("no app of the process file is in the list: see sockeye list");
        }
        Ok(targets)
    }
}

/// Words of the list, with the names of its apps in the place of a process file; and these apps as the files say them.
fn files(
    words: &[String],
    profile: Option<&str>,
    only: &[String],
    env: &BTreeMap<String, String>,
) -> anyhow::Result<(Vec<String>, Vec<Launch>)> {
    let registry = store::read(&holder::places()?.list())?;
    let cwd = std::env::current_dir().context("cannot tell where this is")?;
    let (mut targets, mut launches): (Vec<String>, Vec<Launch>) = (Vec::new(), Vec::new());
    for word in words {
        let path = cwd.join(word);
        if registry.select(std::slice::from_ref(word)).is_ok() || !processes::is_process_file(&path) {
            targets.push(word.clone());
            continue;
        }
        let said = start::of_file(&path, profile, only, env)?;
        if said.is_empty() {
            bail!("--only {} leaves no app of {word}", only.join(","));
        }
        targets.extend(said.iter().map(|launch| launch.name.clone()));
        launches.extend(said);
    }
    if launches.is_empty() && !only.is_empty() {
        bail!("--only is for process files: name the apps themselves");
    }
    Ok((targets, launches))
}

fn ask(shape: Shape, question: &Question) -> anyhow::Result<ExitCode> {
    let places = holder::places()?;
    let outcome = apps::ask(&places, question);
    Ok(apps::conclude(&places, shape, outcome))
}
