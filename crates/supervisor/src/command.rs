//! How a process is started: the program with its arguments, and everything that its environment says of its place.
//!
//! Decides nothing but what follows from the configuration. Absent: what is run for which script (`launch`).

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use sockeye_link::{LINK_VARIABLE, WORKER_VARIABLE};

use crate::config::Config;

/// What is different for each process.
pub(crate) struct Place<'a> {
    /// The worker's number.
    pub(crate) instance: u32,
    /// `NODE_APP_INSTANCE`: a successor has that of whom it replaces.
    pub(crate) place: u32,
    /// Where our link is, if it gets one.
    pub(crate) link: Option<&'a Path>,
    /// Where the plain link is, if it gets one.
    pub(crate) plain: Option<&'a Path>,
    /// Its own TCP port.
    pub(crate) port: Option<u16>,
    /// Where it can say `READY=1`.
    pub(crate) notify: Option<&'a Path>,
    /// The number of the descriptor on which Node.js talks.
    pub(crate) channel: Option<i32>,
}

/// What the environment of a process says, whatever the user's says.
pub(crate) fn command(config: &Config, place: &Place<'_>) -> Command {
    let mut command = match &config.tether {
        Some(tether) => {
            let mut command = Command::new(tether);
            command.arg("tether").arg(std::process::id().to_string()).arg("--").arg(&config.program);
            command
        }
        None => Command::new(&config.program),
    };
    command.args(&config.arguments);
    command.stdin(if config.input { Stdio::piped() } else { Stdio::null() });
    if !config.inherit {
        command.env_clear();
    }
    // What a parent of this supervisor meant for it is not for its workers.
    for variable in [NOTIFY_VARIABLE, CHANNEL_VARIABLE, "NODE_CHANNEL_SERIALIZATION_MODE"] {
        command.env_remove(variable);
    }
    command.envs(config.environment.iter().map(|(name, value)| (name, value)));
    if let Some(directory) = &config.directory {
        command.current_dir(directory);
    }
    if let Some((user, group)) = config.user {
        command.uid(user).gid(group);
    }
    command.env(WORKER_VARIABLE, place.instance.to_string());
    command.env("NODE_APP_INSTANCE", place.place.to_string());
    if let Some(link) = place.link {
        command.env(LINK_VARIABLE, link);
    }
    if let Some(plain) = place.plain {
        command.env(sockeye_link::plain::PLAIN_LINK_VARIABLE, plain);
    }
    if let Some(threads) = config.threads {
        command.env("SOCKEYE_THREADS", threads.to_string());
    }
    if let Some(port) = place.port {
        command.env("PORT", port.to_string());
    }
    if let Some(notify) = place.notify {
        command.env(NOTIFY_VARIABLE, notify);
    }
    if let Some(channel) = place.channel {
        command.env(CHANNEL_VARIABLE, channel.to_string());
        command.env("NODE_CHANNEL_SERIALIZATION_MODE", "json");
    }
    command
}

const NOTIFY_VARIABLE: &str = "NOTIFY_SOCKET";
const CHANNEL_VARIABLE: &str = "NODE_CHANNEL_FD";
