//! What every adapter has to keep, checked against the real backplane; and an adapter in memory.
//!
//! A test starts its backend on a free port, says how one more server would come to it ([`Backend`]), and calls [`run`]. Each check works in
//! namespaces of its own with random names. A check that fails panics and says what was expected. Nothing is expected within a time, except that
//! what has to come comes within [`PATIENCE`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use sockeye_adapter_suite::memory::{Bus, Kind};
//! use sockeye_adapter_suite::{Backend, run};
//! use sockeye_cluster::adapter::{Adapter, BoxFuture};
//!
//! struct InMemory(Bus);
//!
//! impl Backend for InMemory {
//!     fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
//!         Box::pin(async { self.0.adapter() }) // elsewhere: a connection of its own
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! run(&InMemory(Bus::new(Kind::Plain))).await;
//! # });
//! # Ok::<_, std::io::Error>(())
//! ```

mod backend;
mod checks;
pub mod memory;
pub mod official;
mod run;
mod samples;
mod server;

pub use backend::{Backend, PATIENCE};
pub use run::run;
