//! The adapter against a real PostgreSQL, and beside real Node.js servers.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod official;
mod peer;
mod server;
mod suite;
mod tables;
mod tls;
mod trouble;
