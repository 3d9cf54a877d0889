//! What a person says of one app: the `[app.NAME]` table of a process file, the flags of `start`, and what is kept of it between.
//!
//! Text and numbers, parsed into types that cannot be wrong one by one. What is run in the end, with every question answered, is `launch`.
//! Absent: reading files (the command line's), any decision about a process.

mod instances;
mod ready;
mod signal;
mod size;
mod span;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use instances::{INSTANCES_MAX, Instances};
pub use ready::ReadyBy;
pub use signal::StopSignal;
pub use size::Size;
pub use span::Span;

/// One app: a program, how often it runs, and what is done about how it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AppSpec {
    /// The script or program; with a slash it is a path from `cwd`, else it is a file there or a program of `PATH`.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What groups apps, for commands that mean several. Default `default`.
    pub namespace: String,
    /// Where it runs. Default: where it was started.
    pub cwd: Option<PathBuf>,
    /// Variables beside those of the shell that starts it.
    pub env: BTreeMap<String, String>,
    /// Variables that are added under `--env PROFILE`, by profile.
    pub profile: BTreeMap<String, BTreeMap<String, String>>,
    /// What runs the script; `none` for nothing. Default: by the ending of its name (`.js`, `.mjs`, `.cjs`, `.ts`, `.py`, `.sh`).
    pub interpreter: Option<String>,
    /// Arguments of the interpreter, before the script.
    pub interpreter_args: Vec<String>,
    /// How many run behind one public port. Absent (the default): one, as it is, with a port of its own.
    pub instances: Option<Instances>,
    /// How many threads a worker of ours may use. Default: cores divided by instances, at least 1.
    pub threads: Option<NonZeroUsize>,
    /// The user that runs it; only root can say so.
    pub user: Option<String>,
    /// The address of the public port. Default: the app's own, else `127.0.0.1`.
    pub host: Option<IpAddr>,
    /// The public port. Default: `PORT` if the environment has it, else what the app asks for.
    pub port: Option<u16>,
    /// What says that a process serves. Default `auto`.
    pub ready: ReadyBy,
    /// How long it may take to serve; then it is killed, and that was a failure. Default 30 s.
    pub ready_timeout: Span,
    /// Whether a process that ended is started again. Default yes.
    pub autorestart: bool,
    /// A pause before each restart that does not grow; absent (the default), `backoff` decides.
    pub restart_delay: Option<Span>,
    /// The pause before the first restart; it doubles with each failure in a row. Default 100 ms.
    pub backoff: Span,
    /// The longest pause. Default 10 s.
    pub backoff_max: Span,
    /// Whoever ends earlier has failed. Default 1 s.
    pub min_uptime: Span,
    /// So many failures in a row, and the app is given up as `errored`. Default 16.
    pub max_restarts: NonZeroU32,
    /// Exit codes after which it is not started again.
    pub stop_exit_codes: Vec<i32>,
    /// What asks it to end. Default `SIGINT`.
    pub stop_signal: StopSignal,
    /// From the first asking to SIGKILL for its whole group. Default 1.6 s.
    pub kill_timeout: Span,
    /// Whether a Node app is told to end by the message `shutdown` before the signal.
    pub shutdown_with_message: bool,
    /// How long clients of a worker may take to leave when it is reloaded or scaled away. Default 10 s.
    pub drain: Span,
    /// Resident memory above which a process is restarted. Default no limit.
    pub max_memory: Option<Size>,
    /// When it is restarted whatever happens, as five fields of cron, by the clock of `TZ` or else of the system. Default never.
    pub cron: Option<String>,
    /// Which files restart it when they change.
    pub watch: WatchSpec,
    /// Its log files.
    pub log: LogSpec,
    /// Apps that have to serve before this one is started.
    pub after: Vec<String>,
}

/// Which files restart an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchSpec {
    /// Files and directories, from `cwd`; none (the default): nothing is watched.
    pub paths: Vec<PathBuf>,
    /// Names and paths that are left out: a name means it at any depth, `*` any characters. Default `node_modules`, `.git`, `*.log`, `*.swp`.
    pub ignore: Vec<String>,
    /// How long after the last change the restart comes. Default 200 ms.
    pub delay: Span,
}

/// The log files of an app: two a worker, one for each stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSpec {
    /// Whether there are any. Default yes.
    pub files: bool,
    /// The file of standard output. Default `logs/NAME-out-INSTANCE.log` in the state directory; `INSTANCE` stands for the number.
    pub out: Option<PathBuf>,
    /// The file of standard error. Default `logs/NAME-error-INSTANCE.log`.
    pub error: Option<PathBuf>,
    /// A file that has this size is put away and a fresh one begun. Default 10 MiB.
    pub max_size: Size,
    /// So is a file this old. Default: a day.
    pub max_age: Span,
    /// How many old files are kept of each. Default 10.
    pub keep: u32,
    /// Whether old files are compressed with gzip. Default yes.
    pub compress: bool,
    /// Whether each line begins with its time. Default no.
    pub time: bool,
    /// Whether each line is a JSON object with its time, app, instance and stream. Default no.
    pub json: bool,
}

/// The namespace of whoever names none.
pub const DEFAULT_NAMESPACE: &str = "default";

impl AppSpec {
    /// An app of one program, with every other field at its default.
    #[must_use]
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), ..Self::default() }
    }
}

impl Default for AppSpec {
    fn default() -> Self {
        Self {
            command: String::new(),
            args: Vec::new(),
            namespace: DEFAULT_NAMESPACE.to_owned(),
            cwd: None,
            env: BTreeMap::new(),
            profile: BTreeMap::new(),
            interpreter: None,
            interpreter_args: Vec::new(),
            instances: None,
            threads: None,
            user: None,
            host: None,
            port: None,
            ready: ReadyBy::Auto,
            ready_timeout: Span::from_secs(30),
            autorestart: true,
            restart_delay: None,
            backoff: Span::from_millis(100),
            backoff_max: Span::from_secs(10),
            min_uptime: Span::from_secs(1),
            max_restarts: const { NonZeroU32::new(16).expect("it is not zero") },
            stop_exit_codes: Vec::new(),
            stop_signal: StopSignal::INT,
            kill_timeout: Span::from_millis(1600),
            shutdown_with_message: false,
            drain: Span::from_secs(10),
            max_memory: None,
            cron: None,
            watch: WatchSpec::default(),
            log: LogSpec::default(),
            after: Vec::new(),
        }
    }
}

impl Default for WatchSpec {
    fn default() -> Self {
        let ignore = ["node_modules", ".git", "*.log", "*.swp"];
        Self { paths: Vec::new(), ignore: ignore.map(str::to_owned).to_vec(), delay: Span::from_millis(200) }
    }
}

impl Default for LogSpec {
    fn default() -> Self {
        Self {
            files: true,
            out: None,
            error: None,
            max_size: Size::from_bytes(10 << 20),
            max_age: Span::from_secs(86_400),
            keep: 10,
            compress: true,
            time: false,
            json: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_reads_as_what_was_said() {
        let mut spec = AppSpec::new("app.js");
        spec.instances = Some(Instances::AllBut(1));
        spec.max_memory = Some(Size::from_bytes(300 << 20));
        spec.ready = ReadyBy::Http("/health".into());
        spec.log.max_age = Span::from_secs(90);
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<AppSpec>(&text).unwrap(), spec);
    }

    #[test]
    fn numbers_are_read_as_pm2_reads_them_and_words_as_people_write_them() {
        let spec: AppSpec = serde_json::from_str(
            r#"{"command":"a","instances":"max","kill_timeout":3000,"min_uptime":"1.5s","max_memory":"300M","stop_signal":"term","ready":"ipc"}"#,
        )
        .unwrap();
        assert_eq!(spec.instances, Some(Instances::Max));
        assert_eq!(spec.kill_timeout, Span::from_secs(3));
        assert_eq!(spec.min_uptime, Span::from_millis(1500));
        assert_eq!(spec.max_memory, Some(Size::from_bytes(300 << 20)));
        assert_eq!(spec.stop_signal.name(), "SIGTERM");
        assert_eq!(spec.ready, ReadyBy::Ipc);
    }

    #[test]
    fn what_cannot_be_says_the_field_and_the_fix() {
        for (text, expected) in [
            (r#"{"comand":"a"}"#, "unknown field `comand`, expected one of `command`"),
            (r#"{"kill_timeout":"soon"}"#, "expected a time such as 500ms, 2s, 5m or 1h, got soon"),
            (r#"{"max_memory":"much"}"#, "expected a size such as 300M or 1G, got much"),
            (r#"{"stop_signal":"SIGNOPE"}"#, "expected a signal such as SIGINT or SIGTERM, got SIGNOPE"),
            (r#"{"instances":0}"#, "expected max, -1 or a number from 1 to 1024, got 0"),
            (
                r#"{"ready":"maybe"}"#,
                "expected auto, started, link, notify, ipc, port, port:NUMBER or http:/PATH, got maybe",
            ),
            (r#"{"max_restarts":0}"#, "expected a nonzero u32"),
        ] {
            let error = serde_json::from_str::<AppSpec>(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
