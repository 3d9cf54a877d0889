//! What to run and how many times, and the limits of patience.

use std::ffi::OsString;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use crate::spec::{ReadyBy, StopSignal};

/// What a supervisor runs.
#[derive(Debug, Clone)]
pub struct Config {
    /// The program of every worker, looked up in `PATH` if it has no slash.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Variables beside those of the parent and those the supervisor sets (which win).
    pub environment: Vec<(OsString, OsString)>,
    /// Whether the variables of the parent are there too. Default yes.
    pub inherit: bool,
    /// Where it runs. Default: where the parent does.
    pub directory: Option<PathBuf>,
    /// Who runs it, as user and group; only root can say so. Default: the parent's.
    pub user: Option<(u32, u32)>,
    /// A program that becomes another one which ends with its parent: called as `PROGRAM tether PID -- …`. Default none: workers end by themselves with their
    /// link. See [`tether`](crate::tether).
    pub tether: Option<PathBuf>,
    /// Whether workers have a standard input to which can be written ([`Supervisor::write`](crate::Supervisor::write)); else it is empty. Default no.
    pub input: bool,
    /// Whether workers get our link. Default yes.
    pub linked: bool,
    /// Whether workers are Node.js, which gets a channel for `process.send`. Default no.
    pub ipc: bool,
    /// Whether each process gets a free port of the loopback as `PORT`. Default no.
    pub private_ports: bool,
    /// What says that a process serves. Default its word over the link.
    pub ready: ReadyBy,
    /// The port that [`ReadyBy::Port`] and [`ReadyBy::Http`] ask where a process was given none.
    pub probe_port: Option<u16>,
    /// What asks a process to end. Default SIGTERM.
    pub stop_signal: StopSignal,
    /// Whether a Node app is sent the message `shutdown` before that. Default no.
    pub shutdown_with_message: bool,
    /// What is done about how a process ends.
    pub policy: Policy,
    /// How many workers. Default 1; sane: up to the number of cores.
    pub instances: NonZeroU32,
    /// How many threads each may use; the worker's own choice if absent (the default).
    pub threads: Option<NonZeroUsize>,
    /// A TCP port for each worker, beside the Unix sockets. Default none.
    pub ports: Option<Ports>,
    /// How long to wait for what.
    pub timing: Timing,
    /// The longest line of output that is passed on whole; a longer one is split. Default 16 KiB, bought twice a worker.
    pub line_bytes_max: NonZeroUsize,
    /// The limits of each worker's link.
    pub link: sockeye_link::Config,
    /// Makes the tag of each worker that starts; it must not repeat. Default [`random_tag`].
    pub tag: fn() -> String,
}

impl Config {
    /// One worker of `program`, with every other field at its default.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        const LINE_BYTES_MAX: NonZeroUsize = NonZeroUsize::new(16 << 10).expect("it is not zero");
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            inherit: true,
            directory: None,
            user: None,
            tether: None,
            input: false,
            linked: true,
            ipc: false,
            private_ports: false,
            ready: ReadyBy::Link,
            probe_port: None,
            stop_signal: StopSignal::TERM,
            shutdown_with_message: false,
            policy: Policy::default(),
            instances: NonZeroU32::MIN,
            threads: None,
            ports: None,
            timing: Timing::default(),
            line_bytes_max: LINE_BYTES_MAX,
            link: sockeye_link::Config::default(),
            tag: random_tag,
        }
    }
}

/// TCP ports of the workers: instance 0 has the first, each next one the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The address they listen on.
    pub host: IpAddr,
    /// The port of instance 0.
    pub first: u16,
}

impl Ports {
    /// The port of an instance, if there are that many.
    #[must_use]
    pub fn of(&self, instance: u32) -> Option<u16> {
        u16::try_from(instance).ok().and_then(|instance| self.first.checked_add(instance))
    }
}

/// How long to wait for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// From the start of a process to its word that it serves; one that takes longer is killed and counted as failed.
    /// Default 30 s; sane: a few times what the program needs on a cold disk.
    pub ready_timeout: Duration,
    /// From `Stop` over the link, which lets a worker close in order, to SIGTERM for its process group; a program without
    /// a link gets SIGTERM at once. Default 2 s; at `kill_timeout` or above SIGTERM is left out.
    pub terminate_timeout: Duration,
    /// From the first asking a worker to end to SIGKILL for its process group. Default 5 s.
    pub kill_timeout: Duration,
    /// The pause before the first restart. Default 100 ms; doubles with each failure in a row.
    pub restart_delay_min: Duration,
    /// The longest pause before a restart. Default 10 s; at least `restart_delay_min`.
    pub restart_delay_max: Duration,
    /// A worker that served this long has no failures behind it. Default 30 s.
    pub restart_reset_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            ready_timeout: Duration::from_secs(30),
            terminate_timeout: Duration::from_secs(2),
            kill_timeout: Duration::from_secs(5),
            restart_delay_min: Duration::from_millis(100),
            restart_delay_max: Duration::from_secs(10),
            restart_reset_after: Duration::from_secs(30),
        }
    }
}

/// What is done about how a process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Whether a process that ended is started again. Default yes.
    pub autorestart: bool,
    /// A pause before each restart that does not grow; absent (the default), [`Timing`] decides.
    pub restart_delay: Option<Duration>,
    /// Whoever ends earlier after its start has failed. Default 1 s.
    pub min_uptime: Duration,
    /// So many failures in a row, and a worker is given up. Default: never.
    pub max_restarts: Option<NonZeroU32>,
    /// Exit codes after which it is not started again. Default none.
    pub stop_exit_codes: Vec<i32>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            autorestart: true,
            restart_delay: None,
            min_uptime: Duration::from_secs(1),
            max_restarts: None,
            stop_exit_codes: Vec::new(),
        }
    }
}

/// A tag of 6 characters of `[A-Za-z0-9_-]` from the system's randomness: 36 bits.
#[must_use]
pub fn random_tag() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = [0; 6];
    getrandom::fill(&mut random).expect("the system has randomness");
    random.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}
