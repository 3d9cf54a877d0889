//! What an operator wrote: `sockeye.toml` and the environment, read into what the edge and its apps are told.
//!
//! Pure: text and variables in, a settled value or complaints out. Every complaint names the place, the key, the value, what was expected, and the fix;
//! a key that nobody reads is a complaint too. Absent: reading files, resolving names, looking at what they name (all told by [`Facts`]), and running anything.

mod address;
mod app;
mod complaint;
mod cookie;
mod desk;
mod environment;
mod facts;
mod form;
pub mod fuzz;
mod health;
pub mod import;
mod keys;
mod listen;
mod near;
mod place;
mod ports;
mod rest;
mod settle;
mod shadows;
mod site;
mod tree;
mod units;
mod upstream;

pub use address::server_endpoint;
pub use app::{App, Bundled};
pub use complaint::{Complaint, Refused};
pub use environment::PREFIX;
pub use facts::{Facts, Fault, Look, Resolve, Thing, unseen};
pub use keys::{Key, SECTIONS, Section};
pub use ports::Port;
pub use rest::{Admin, Cluster, NodeLinkFiles, TOKEN_CHARACTERS_MIN, Token};
pub use settle::{Settled, settle, settle_apps};
pub use units::span;
