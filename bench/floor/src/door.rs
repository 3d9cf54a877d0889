//! The open connections: what each is by now, and writing to one without waiting.

use std::os::fd::OwnedFd;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

/// What a connection is by now.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Role {
    /// Speaks HTTP.
    Http,
    /// A WebSocket that probes for the polling session in this place.
    Probe(u32),
    /// A WebSocket with a session of its own.
    Open,
    /// The same, once it has joined the namespace.
    Joined,
}

/// One connection; small, because idle memory is a row of the comparison.
pub(crate) struct Conn {
    pub(crate) socket: OwnedFd,
    pub(crate) role: Role,
    /// What a read or a write left over; absent when neither did.
    pub(crate) rest: Option<Box<Rest>>,
}

/// Bytes that could not be dealt with yet.
#[derive(Default)]
pub(crate) struct Rest {
    /// The start of a request or frame.
    pub(crate) input: Vec<u8>,
    /// What the socket did not take.
    pub(crate) output: Vec<u8>,
}

/// All connections, each in a place of its own.
pub(crate) struct Doors {
    epoll: OwnedFd,
    places: Vec<Option<Conn>>,
    free: Vec<u32>,
}

impl Doors {
    /// A table without connections.
    pub(crate) fn new(epoll: OwnedFd) -> Self {
        Self { epoll, places: Vec::new(), free: Vec::new() }
    }

    /// Takes in a connection and waits for its bytes.
    pub(crate) fn open(&mut self, socket: OwnedFd) -> Result<(), Errno> {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).expect("fewer connections than descriptors")
        });
        epoll::add(&self.epoll, &socket, EventData::new_u64(place.into()), EventFlags::IN)?;
        self.places[place as usize] = Some(Conn { socket, role: Role::Http, rest: None });
        Ok(())
    }

    /// Closes a connection.
    pub(crate) fn close(&mut self, place: u32) -> Option<Conn> {
        let conn = self.places[place as usize].take();
        if conn.is_some() {
            self.free.push(place);
        }
        conn
    }

    /// The connection in a place.
    #[inline]
    pub(crate) fn at(&mut self, place: u32) -> Option<&mut Conn> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    /// Writes to one connection.
    #[inline]
    pub(crate) fn send(&mut self, place: u32, bytes: &[u8]) {
        if let Some(conn) = self.places.get_mut(place as usize).and_then(Option::as_mut) {
            write(&self.epoll, place, conn, bytes);
        }
    }

    /// Writes to every WebSocket that has joined.
    pub(crate) fn send_all(&mut self, bytes: &[u8]) {
        for (place, conn) in (0..).zip(&mut self.places) {
            if let Some(conn) = conn
                && conn.role == Role::Joined
            {
                write(&self.epoll, place, conn, bytes);
            }
        }
    }

    /// Writes what the socket did not take earlier.
    pub(crate) fn flush(&mut self, place: u32) {
        let Some(conn) = self.places[place as usize].as_mut() else { return };
        let Some(rest) = conn.rest.as_mut() else { return };
        if let Ok(count) = rustix::io::write(&conn.socket, &rest.output) {
            rest.output.drain(..count);
        }
        if rest.output.is_empty() {
            if rest.input.is_empty() {
                conn.rest = None;
            }
            // A failure shows itself as a hang-up of the connection.
            let _ =
                epoll::modify(&self.epoll, &conn.socket, EventData::new_u64(place.into()), EventFlags::IN);
        }
    }
}

/// Writes now, or keeps what the socket does not take for [`Doors::flush`].
#[inline]
fn write(epoll: &OwnedFd, place: u32, conn: &mut Conn, bytes: &[u8]) {
    if conn.rest.is_none() {
        match rustix::io::write(&conn.socket, bytes) {
            Ok(count) if count == bytes.len() => return,
            Ok(count) => return keep(epoll, place, conn, &bytes[count..]),
            Err(Errno::AGAIN) => {}
            // The hang-up is the next event of this connection.
            Err(_) => return,
        }
    }
    keep(epoll, place, conn, bytes);
}

#[cold]
fn keep(epoll: &OwnedFd, place: u32, conn: &mut Conn, bytes: &[u8]) {
    let rest = conn.rest.get_or_insert_default();
    if rest.output.len() + bytes.len() > LATE_MAX {
        // Too slow a reader: shutting it down makes the hang-up its next event.
        let _ = rustix::net::shutdown(&conn.socket, rustix::net::Shutdown::Both);
        return;
    }
    rest.output.extend_from_slice(bytes);
    let both = EventFlags::IN | EventFlags::OUT;
    let _ = epoll::modify(epoll, &conn.socket, EventData::new_u64(place.into()), both);
}

/// Bytes kept for a connection that reads slower than it is written to; then it is closed.
const LATE_MAX: usize = 4 << 20;
