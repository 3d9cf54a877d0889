//! Starts, watches and stops worker processes.
//!
//! The machines are [`Worker`] (one process, from start to death to restart) and [`Fleet`] (all of them); the driver is
//! [`Supervisor`], which spawns, listens on the [`link`](sockeye_link), signals and reaps as they say, and tells its user
//! what happened as [`Event`]s. [`RuntimeDir`] is where they meet. [`tether`] makes a program that is not ours end with
//! its parent.
//!
//! Absent on purpose: sockets of clients (the edge's), what a worker does inside (the library's), flags and colours (the
//! command line's).

mod asking;
pub mod clock;
mod command;
mod config;
mod cron;
mod event;
mod fleet;
mod launch;
mod lines;
pub mod log;
pub mod preload;
pub mod proc;
mod process;
mod readiness;
mod runtime_dir;
mod slot;
mod spec;
mod supervisor;
pub mod tether;
pub mod watch;
mod worker;

pub use asking::Asking;
pub use config::{Config, Policy, Ports, Timing, random_tag};
pub use cron::{Cron, Zone};
pub use event::{Event, StartError, Stats, WorkerView};
pub use fleet::{Busy, Fleet, FleetOutput};
pub use launch::{Kind, Launch, LaunchError, PROFILE_VARIABLE, Program, check_profile, name_of};
pub use lines::{Line, Stream};
pub use runtime_dir::RuntimeDir;
pub use sockeye_link::plain::Protocol;
pub use spec::{
    AppSpec, DEFAULT_NAMESPACE, INSTANCES_MAX, Instances, LogSpec, ReadyBy, Size, Span, StopSignal, WatchSpec,
};
pub use supervisor::Supervisor;
pub use worker::{Output, Status, Worker, WorkerStats};
