//! What the commands about apps share: asking the daemon (and starting it, where one may), what a shell says of its environment, and how an outcome is shown.

pub(crate) mod mask;
pub(crate) mod rows;
pub(crate) mod table;
pub(crate) mod tail;

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::daemon::words::{AWAKE, Done, Question};
use crate::holder::Holder;
use crate::places::{KEEPER_VARIABLE, Places};
use crate::{exit, notify, talk};

/// How long a fresh daemon may take to answer: it takes on the keepers of the last one first.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(20);

/// How long whatever is asked may take.
const DO_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// The flag of every command that shows something.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Shape {
    /// Write JSON; its keys are in docs/commands.md
    #[arg(long)]
    pub(crate) json: bool,
}

/// What scripts of pm2 say and what is so anyway.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Pm2 {
    /// The shell's environment is taken over anyway
    #[arg(long, hide = true)]
    update_env: bool,
    /// There are no colours
    #[arg(long, hide = true)]
    no_color: bool,
    /// The list is short
    #[arg(long, short, hide = true)]
    silent: bool,
    /// Traces are as the interpreter writes them
    #[arg(long, hide = true, alias = "disable-source-map-support")]
    source_map_support: bool,
    /// No repository is looked at
    #[arg(long, hide = true)]
    no_vizion: bool,
    /// `logs` shows those of all instances as one
    #[arg(long, hide = true)]
    merge_logs: bool,
}

/// Which apps.
#[derive(Debug, Clone, Args)]
pub(crate) struct Targets {
    /// Names, ids, namespaces, or `all`
    #[arg(value_name = "APP", required = true)]
    pub(crate) targets: Vec<String>,
}

/// Asks the daemon; one that does not run is started, with the list as it was.
pub(crate) fn ask(places: &Places, question: &Question) -> anyhow::Result<Done> {
    wake(places)?;
    talk::ask(&places.daemon(), question, DO_TIMEOUT)
}

/// Whether a daemon answers.
///
/// # Errors
/// When one is there and does not.
pub(crate) fn is_awake(places: &Places) -> anyhow::Result<bool> {
    is_awake_in(places, 2)
}

fn is_awake_in(places: &Places, tries_left: u32) -> anyhow::Result<bool> {
    match talk::ask::<_, Done>(&places.daemon(), &Question::Ping, DAEMON_TIMEOUT) {
        Ok(_) => Ok(true),
        // It ended that moment, or began anew.
        Err(error) if error.is::<talk::Unanswered>() && tries_left > 0 => is_awake_in(places, tries_left - 1),
        Err(error) if talk::is_late(&error) => bail!(
            "the daemon does not answer within {DAEMON_TIMEOUT:?}: if it was stopped by a signal, kill -CONT lets it go on, and kill -9 harms no app (pgrep -af 'sockeye daemon' finds it)"
        ),
        Err(_) => Ok(false),
    }
}

/// A daemon that lives and does not answer where it is looked for, nor within the time in which it would begin or end.
pub(crate) fn lost(places: &Places) -> anyhow::Result<Option<Holder>> {
    let since = Instant::now();
    while let Some(holder) = Holder::alive(places) {
        if since.elapsed() > LOST_TIMEOUT {
            return Ok(Some(holder));
        }
        if is_awake(places)? {
            break;
        }
        std::thread::sleep(LOOK_PAUSE);
    }
    Ok(None)
}

/// How long a daemon that begins or ends may be without its socket.
const LOST_TIMEOUT: Duration = Duration::from_secs(2);

/// How often it is looked.
const LOOK_PAUSE: Duration = Duration::from_millis(20);

/// Waits until the daemon, which was told to end, has ended: the kernel lets go of its lock then.
pub(crate) fn await_end(places: &Places) -> anyhow::Result<()> {
    let lock = std::fs::File::open(places.lock()).context("cannot see whether the daemon ended")?;
    let (sender, ended) = mpsc::sync_channel(1);
    // Ends with the daemon, or with this command.
    std::thread::spawn(move || sender.send(flock(&lock, FlockOperation::LockShared)));
    match ended.recv_timeout(DAEMON_TIMEOUT) {
        Ok(locked) => locked.context("cannot see whether the daemon ended"),
        Err(_) => bail!("the daemon does not end: see {}", places.own_log().display()),
    }
}

/// Starts a daemon unless one answers, and waits for its word. Of several commands at a time one does so.
fn wake(places: &Places) -> anyhow::Result<()> {
    if is_awake(places)? {
        return Ok(());
    }
    if let Some(lost) = lost(places)? {
        bail!(lost.lost(places));
    }
    places.make()?;
    // The directory is what there is before a daemon, and its lock ends with this command.
    let turn = std::fs::File::open(&places.runtime)?;
    flock(&turn, FlockOperation::LockExclusive)?;
    if is_awake(places)? {
        return Ok(());
    }
    let log = std::fs::OpenOptions::new().append(true).create(true).open(places.own_log())?;
    let mut command = Command::new("/proc/self/exe");
    let (name, value) = THRIFT;
    command.arg("daemon").env(name, value).env_remove(KEEPER_VARIABLE);
    notify::VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
    let mut child = command.spawn().context("cannot start the daemon")?;
    let mut stdout = child.stdout.take().context("it is piped")?;
    let (sender, word) = mpsc::sync_channel(1);
    // Ends with the daemon's first word, or with this command.
    std::thread::spawn(move || {
        let mut word = String::new();
        let _ = stdout.read_to_string(&mut word);
        sender.send(word)
    });
    match word.recv_timeout(DAEMON_TIMEOUT) {
        Ok(word) if word.trim() == AWAKE => Ok(()),
        // Somebody else may have started one meanwhile, as systemd does: that one answers.
        Ok(_) if is_awake(places)? => Ok(()),
        Ok(_) => bail!("the daemon ended: see {}", places.own_log().display()),
        Err(_) => bail!("the daemon does not answer: see {}", places.own_log().display()),
    }
}

/// Has the allocator of a daemon or a keeper commit memory when it is used. By default it commits arenas ahead, which the kernel backs by huge pages: 6 to 9 MiB
/// of either process. It has to stand in the environment, since the allocator reads it before `main`.
pub(crate) const THRIFT: (&str, &str) = ("MIMALLOC_ARENA_EAGER_COMMIT", "0");

/// Variables that say something of one process, not of the apps that it starts.
const PRIVATE: [&str; 13] = [
    KEEPER_VARIABLE,
    "SOCKEYE_LINK",
    "SOCKEYE_PLAIN_LINK",
    "SOCKEYE_WORKER",
    "SOCKEYE_THREADS",
    "NODE_APP_INSTANCE",
    "NODE_CHANNEL_FD",
    "NODE_CHANNEL_SERIALIZATION_MODE",
    "OLDPWD",
    "PWD",
    "SHLVL",
    "_",
    sockeye_supervisor::PROFILE_VARIABLE,
];

/// The variables of this shell. One that is no text is left out.
pub(crate) fn environment() -> BTreeMap<String, String> {
    let text = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let is_private = |name: &str| PRIVATE.contains(&name) || notify::VARIABLES.contains(&name);
    text.filter(|(name, _)| !is_private(name)).collect()
}

/// Shows what was done, and the code to end with: 1 if anything was not.
pub(crate) fn conclude(places: &Places, shape: Shape, outcome: anyhow::Result<Done>) -> ExitCode {
    let done = match outcome {
        Ok(done) => done,
        Err(error) => return exit::complain(exit::FAILED, &format!("{error:#}")),
    };
    let mut failed = false;
    for app in &done.apps {
        if let Some(error) = &app.error {
            failed = true;
            exit::complain(exit::FAILED, &format!("{}: {error}", app.name));
        }
        let workers = app.status.iter().flat_map(|status| &status.workers);
        let ill: Vec<_> = workers
            .filter(|worker| matches!(worker.status.as_str(), "errored" | "waiting restart"))
            .collect();
        if let Some(worker) = ill.first() {
            failed = true;
            let how = worker.exit.as_deref().unwrap_or("it could not be started");
            exit::complain(
                exit::FAILED,
                &format!(
                    "{}: instance {} is {}, {how}: see sockeye logs {0}",
                    app.name, worker.place, worker.status
                ),
            );
        }
        if let Some(trouble) = app.status.as_ref().and_then(|status| status.trouble.as_ref()) {
            exit::complain(exit::FAILED, &format!("{}: {trouble}", app.name));
        }
        if !app.env.is_empty() && !shape.json {
            say(&format!("{}: environment {}", app.name, app.env.join(" ")));
        }
    }
    if shape.json {
        say_json(&done.apps);
    } else {
        match rows::rows(places) {
            Ok(rows) => say(&table::list(&rows)),
            Err(error) => return exit::complain(exit::FAILED, &format!("{error:#}")),
        }
    }
    ExitCode::from(if failed { exit::FAILED } else { exit::OK })
}

/// Writes a text; whoever closed the pipe does not want it.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// Writes a value as JSON, in one line.
pub(crate) fn say_json(value: &impl Serialize) {
    say(&serde_json::to_string(value).expect("plain structs become JSON"));
}
