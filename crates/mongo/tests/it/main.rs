//! The adapter against a MongoDB server, and beside real Node.js servers.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod capped;
mod official;
mod recovery;
mod server;
mod suite;
