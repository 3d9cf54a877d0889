//! A process without our link asks for a public address; whoever has the edge answers.

use std::net::IpAddr;
use std::path::PathBuf;

use sockeye_link::plain::{Listen, Protocol, Worker};

/// A process's question for a public address. Dropping it leaves the process waiting.
#[derive(Debug)]
pub struct Asking {
    worker: Worker,
    id: u32,
    path: PathBuf,
    /// The address that it wants; all addresses of both families if absent.
    pub host: Option<IpAddr>,
    /// The port that it wants.
    pub port: u16,
    /// What it speaks there.
    pub protocol: Protocol,
    /// The port of the loopback that its worker was given.
    pub given: Option<u16>,
}

impl Asking {
    pub(crate) fn new(worker: Worker, listen: &Listen, path: PathBuf, given: Option<u16>) -> Self {
        let Listen { id, host, port, protocol } = *listen;
        Self { worker, id, path, host, port, protocol, given }
    }

    /// The address is open: what comes in there is brought to the process.
    pub fn accept(self) {
        self.worker.listening(self.id, self.path);
    }

    /// It is the process's own business: it listens there by itself.
    pub fn leave(self) {
        self.worker.alone(self.id);
    }

    /// The address cannot be had. `code` is the system's name of the error (`EADDRINUSE`), where it has one.
    pub fn refuse(self, code: Option<&str>, reason: &str) {
        self.worker.refuse(self.id, code, reason);
    }
}
