//! The plain link: what a parent and a worker say to each other when the worker cannot take descriptors, such as a Node.js
//! app with our preload. JSON lines on a Unix stream socket; the specification is `docs/plain-link.md`.
//!
//! [`Inbox`] is the machine (bytes in, [`Event`]s out). [`Listener`] drives it: each process that reports is an
//! [`Arrival`], and becomes a [`Worker`] (words to it) and its [`Events`].
//!
//! Absent on purpose: who opens the address that a worker asks for (the edge), which process is whose (the supervisor).
//!
//! ```no_run
//! # async fn parent() -> std::io::Result<()> {
//! use sockeye_link::plain::{Assign, Event, Listener};
//!
//! let listener = Listener::bind("/run/app/plain.sock".as_ref())?;
//! let arrival = listener.accept().await?;
//! let assign = Assign { tag: "Ab3dE_".into(), mesh_dir: "/run/app/mesh".into(), http_dir: "/run/app/http".into() };
//! let (worker, mut events) = arrival.assign(assign);
//! while let Some(event) = events.next().await {
//!     if let Event::Listen(listen) = event {
//!         worker.listening(listen.id, format!("/run/app/http/Ab3dE_-{}.sock", listen.id).into());
//!     }
//! }
//! # Ok(()) }
//! ```

mod inbox;
mod listener;
mod message;

pub use inbox::{Event, Inbox, LISTENS_MAX, Misbehaved};
pub use listener::{Arrival, Events, Listener, Worker};
pub use message::{
    Assign, Hello, LINE_BYTES_MAX, Listen, PLAIN_LINK_VARIABLE, Protocol, Sids, ToParent, ToWorker, VERSION,
};
