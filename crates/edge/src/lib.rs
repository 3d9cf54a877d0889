//! The balancer that knows Socket.IO: public addresses in front of those who serve.
//!
//! A request is answered by the first site that matches the listener it came in at, its host and its path: a group of servers, files, a redirect.
//! A request that names a session goes to the server that has it: by the tag that its sid bears where nodes of ours made it, else as was learnt from the
//! answer to its handshake, or as a cookie, an address or a header says. Any other goes to whom the group's algorithm chooses. A WebSocket upgrade for a worker of
//! this machine is handed over, the connection itself with every byte read so far; everything else is relayed, each request by its own route.
//!
//! Small machines decide (`pool`, `roster`, `leases`, `health`, `learnt`, `shedding`, `admission`), [`Proxy`] and the servers of each group are their drivers,
//! [`Control`] tells of workers, servers and other configurations. Absent: starting and stopping servers (the supervisor does), sessions and packets (the servers'
//! own), and retries of requests that may have had an effect.

mod access_line;
mod access_log;
mod admission;
mod affinity;
mod answer;
mod bell;
mod client;
pub mod config;
mod control;
mod cookie;
mod door;
mod engine;
mod exchange;
mod file_limit;
mod forwarded;
#[doc(hidden)]
pub mod fuzz;
mod group;
mod hash;
mod health;
mod http2;
mod layout;
mod learnt;
mod leases;
mod member;
mod peek;
mod place;
mod places;
mod pool;
mod proxy;
mod pulse;
mod redirect;
mod reply;
mod roster;
mod route;
mod secure;
mod servers;
mod shared;
mod shedding;
mod stats;
mod swift;
mod tcp;
mod tls;
mod upgrades;
mod workers;

pub use config::{BindError, Config, ConfigError, Group, Limits};
pub use control::{Control, MemberError};
pub use leases::TooMany;
pub use pool::Share;
pub use proxy::Proxy;
pub use roster::{LineFault, ListError, parse_servers};
pub use stats::{GroupStats, ListenerStats, ServerCondition, ServerStats, Stats, WorkerStats};
