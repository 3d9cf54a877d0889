//! What the nodes of a cluster say to each other, and what a node decides: no socket, no clock, no task, no random
//! number, no backend.
//!
//! [`Node`] is one server's part in the cluster. [`mesh::Mesh`] finds the other processes of a machine and keeps a
//! connection to each (`docs/mesh.md`). [`directory::Directory`] knows who owns which sids on other machines. [`recovery::Store`] keeps what clients miss while they are away. [`roster::Roster`] knows who is in which room. [`wire`] holds
//! the official formats byte by byte. [`adapter`] is the contract of whatever carries messages between machines.

pub mod adapter;
mod address;
pub mod counters;
pub mod directory;
pub mod mesh;
mod message;
mod name;
pub mod node;
mod peers;
mod places;
pub mod recovery;
mod request;
mod requests;
pub mod roster;
mod seen;
mod selector;
mod to;
pub mod wire;

pub use address::{Address, NoAddress};
pub use message::{Envelope, Message, Packet};
pub use name::{Nsp, Pid, RequestId, Room, Uid};
pub use node::Node;
pub use peers::{Peer, Peers};
pub use request::{
    ANSWERERS_MAX, ANSWERS_BYTES_MAX, Answer, Missing, Outcome, REQUEST_TIMEOUT, REQUESTS_MAX, Refused,
    Request, UNKNOWN, Why,
};
pub use selector::{Flags, Selector};
