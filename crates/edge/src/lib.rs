//! The balancer that knows Socket.IO: one public port in front of the workers of one machine.
//!
//! A request that names a session goes to the worker whose tag its sid bears, any other to the worker with the fewest sessions. A WebSocket upgrade is
//! handed over, the connection itself with every byte read so far; everything else is relayed, each request by its own route.
//!
//! [`Pool`] decides (a machine), [`Proxy`] does (its driver), [`Control`] tells the proxy of workers. Absent: starting and stopping workers (the supervisor
//! does), sessions and packets (the workers' own), any table of sids, cookies, and retries of requests that may have had an effect.

mod client;
pub mod config;
mod control;
mod door;
mod exchange;
mod pool;
mod proxy;
mod pulse;
mod reply;
mod route;
mod shared;
mod stats;
mod workers;

pub use config::{BindError, Config, Group, Limits};
pub use control::Control;
pub use pool::{Pool, Share};
pub use proxy::Proxy;
pub use stats::{Stats, WorkerStats};
