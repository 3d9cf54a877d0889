//! The balancer that knows Socket.IO: public addresses in front of those who serve.
//!
//! A request is answered by the first site that matches the listener it came in at, its host and its path: a group of servers, files, a redirect.
//! A request that names a session goes to the worker whose tag its sid bears, any other to the worker with the fewest sessions. A WebSocket upgrade is
//! handed over, the connection itself with every byte read so far; everything else is relayed, each request by its own route.
//!
//! [`Pool`] decides (a machine), [`Proxy`] does (its driver), [`Control`] tells the proxy of workers. Absent: starting and stopping workers (the supervisor
//! does), sessions and packets (the workers' own), any table of sids, cookies, and retries of requests that may have had an effect.

mod answer;
mod client;
pub mod config;
mod control;
mod door;
mod exchange;
mod file_limit;
mod forwarded;
mod group;
mod layout;
mod place;
mod places;
mod pool;
mod proxy;
mod pulse;
mod redirect;
mod reply;
mod route;
mod shared;
mod stats;
mod tls;
mod workers;

pub use config::{BindError, Config, ConfigError, Group, Limits};
pub use control::Control;
pub use pool::{Pool, Share};
pub use proxy::Proxy;
pub use stats::{ListenerStats, Stats, WorkerStats};
