//! What was typed: text, parsed into types that cannot be wrong one by one. What they mean together is `plan.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, ValueEnum};
use sockeye_supervisor::{INSTANCES_MAX, Instances};

/// The flags of `up`.
#[derive(Debug, Args)]
pub(crate) struct UpFlags {
    /// The address to listen on: `0.0.0.0` or `::` for all of this machine
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = host)]
    pub(crate) host: IpAddr,
    /// The public port; 0 lets the system choose
    #[arg(long, default_value = "3000", value_parser = port)]
    pub(crate) port: u16,
    /// How many workers: a number, `max` for one a core, or `-1` for one less
    #[arg(long, short, value_name = "N", default_value = "max", allow_hyphen_values = true, value_parser = instances)]
    pub(crate) instances: Instances,
    /// Threads of each worker [default: cores divided by workers, at least 1]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Give each worker a TCP port of its own as well, counting up from FIRST [default: the public port + 1]
    #[arg(long, value_name = "FIRST", num_args = 0..=1, value_parser = worker_port)]
    pub(crate) worker_ports: Option<Option<u16>>,
    /// The backplane that joins the workers with other machines, and with servers in Node.js: redis://, redis+sharded://, redis+streams://, postgres://, mongodb:// or nats:// [default: what SOCKEYE_ADAPTER says]
    #[arg(long, value_name = "URL")]
    pub(crate) adapter: Option<String>,
    /// This machine's address, where its workers take requests that came to other machines; each takes a port from this one on. Needs --adapter, and on all machines SOCKEYE_NODE_SECRET or the three certificates
    #[arg(long, value_name = "IP:PORT")]
    pub(crate) node_link: Option<std::net::SocketAddr>,
    /// Let clients whose connection broke go on where they were, at any worker, if they are back within SECONDS [default: what SOCKEYE_RECOVERY says; 120 without a number]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "120", value_parser = recovery)]
    pub(crate) recovery: Option<Duration>,
    /// This machine's certificate for the node link, PEM with its chain: it is encrypted then, and both ends show theirs [default: what SOCKEYE_NODE_LINK_CERT says]
    #[arg(long, value_name = "FILE")]
    pub(crate) node_link_cert: Option<PathBuf>,
    /// The key of that certificate, PEM [default: what SOCKEYE_NODE_LINK_KEY says]
    #[arg(long, value_name = "FILE")]
    pub(crate) node_link_key: Option<PathBuf>,
    /// The authority that signs the machines' certificates and no others, PEM [default: what SOCKEYE_NODE_LINK_CA says]
    #[arg(long, value_name = "FILE")]
    pub(crate) node_link_ca: Option<PathBuf>,
    /// Seconds that clients may stay connected after Ctrl-C or SIGTERM
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) drain: Duration,
    /// What the workers serve
    #[arg(long, hide = true, default_value = "chat")]
    pub(crate) app: App,
    /// Log every change of state, of the workers too; `SOCKEYE_LOG` says it more finely
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// A bundled application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    /// The chat with its page.
    Chat,
    /// The server half of the end-to-end tests.
    Contract,
    /// The same for what the contract leaves out.
    Features,
    /// That once more, with packets as socket.io-msgpack-parser writes them.
    Msgpack,
}

impl App {
    /// The word on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Contract => "contract",
            Self::Features => "features",
            Self::Msgpack => "msgpack",
        }
    }
}

/// The most threads of one worker.
const THREADS_MAX: usize = 1024;

/// The longest drain: a day.
const DRAIN_MAX: Duration = Duration::from_secs(86_400);

/// The longest time, in seconds, that a client may be away: an hour. Its session and all that is said meanwhile are kept.
const RECOVERY_MAX: u64 = 3600;

fn host(text: &str) -> Result<IpAddr, String> {
    if text == "localhost" {
        return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    text.parse()
        .map_err(|_| "expected an IP address of this machine, such as 127.0.0.1 or 0.0.0.0".to_owned())
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "expected a port from 0 to 65535, such as 3000".to_owned())
}

fn worker_port(text: &str) -> Result<u16, String> {
    text.parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| "expected a port from 1 to 65535, such as 3001".to_owned())
}

fn instances(text: &str) -> Result<Instances, String> {
    text.parse().map_err(|_| format!("expected max, -1 or a number from 1 to {INSTANCES_MAX}, such as -i 2"))
}

fn threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .ok()
        .filter(|n: &NonZeroUsize| n.get() <= THREADS_MAX)
        .ok_or_else(|| format!("expected a number from 1 to {THREADS_MAX}, such as --threads 2"))
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| *duration <= DRAIN_MAX)
        .ok_or_else(|| format!("expected seconds from 0 to {}, such as --drain 10", DRAIN_MAX.as_secs()))
}

/// How long a client may be away; `0`: not at all.
pub(crate) fn recovery(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| *seconds <= RECOVERY_MAX)
        .map(Duration::from_secs)
        .ok_or_else(|| format!("expected seconds from 0 (off) to {RECOVERY_MAX}, such as 120"))
}

/// What is wrong with the command line, in one line that says what to do. `None` when nothing is: help was asked for.
pub(crate) fn complaint(error: &clap::Error) -> Option<String> {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return None;
    }
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        Some(ContextValue::Strings(words)) => Some(words.join(", ")),
        Some(_) | None => None,
    };
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let first: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let first = first.join(" ");
    let fix = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(word)
        .map_or_else(|| ", see sockeye --help".to_owned(), |near| format!(", did you mean {near}?"));
    // Our own parsers say what they expect.
    let fix = if error.kind() == ErrorKind::ValueValidation { String::new() } else { fix };
    Some(format!("{first}{fix}"))
}

#[cfg(test)]
impl UpFlags {
    /// What a command line without a subcommand means.
    pub(crate) fn typed(words: &[&str]) -> Self {
        #[derive(clap::Parser)]
        struct Typed {
            #[command(flatten)]
            up: UpFlags,
        }
        <Typed as clap::Parser>::parse_from(["sockeye"].iter().chain(words)).up
    }
}
