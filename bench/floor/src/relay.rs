//! The floor of a balancer: bytes from one connection to another and back, in one epoll set, with one buffer.
//!
//! It knows nothing of what it carries, keeps nothing that the other side does not take at once (it waits for it), and chooses nobody.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::pipe::SpliceFlags;

/// Carries every connection of the listener to an address, until the process is ended.
pub(crate) fn run(listener: &TcpListener, target: SocketAddr, splice: bool) -> io::Result<()> {
    // One pipe serves all: it is empty between two connections.
    let pipe = rustix::pipe::pipe()?;
    if splice {
        rustix::pipe::fcntl_setpipe_size(&pipe.1, READ_BYTES)?;
    }
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // Each connection in a place, its other end in the place beside it (the last bit differs).
    let mut ends: Vec<Option<OwnedFd>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut scratch = vec![0; READ_BYTES];
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for &Event { data, .. } in &events {
            if data.u64() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    let place = free.pop().unwrap_or_else(|| {
                        ends.extend([None, None]);
                        ends.len() - 2
                    });
                    for (place, stream) in [(place, client), (place + 1, TcpStream::connect(target)?)] {
                        stream.set_nodelay(true)?;
                        stream.set_nonblocking(true)?;
                        epoll::add(&epoll, &stream, EventData::new_u64(place as u64), EventFlags::IN)?;
                        ends[place] = Some(stream.into());
                    }
                }
                continue;
            }
            let place = usize::try_from(data.u64()).expect("a place");
            let (Some(source), Some(sink)) = (&ends[place], &ends[place ^ 1]) else { continue };
            let goes_on =
                if splice { carry_by(&pipe, source, sink) } else { carry(source, sink, &mut scratch) };
            if !goes_on {
                // Closing takes both out of the set.
                (ends[place], ends[place ^ 1]) = (None, None);
                free.push(place & !1);
            }
        }
    }
}

/// Carries what has come; `false` once there is no more.
fn carry(source: &OwnedFd, sink: &OwnedFd, scratch: &mut [u8]) -> bool {
    let count = match rustix::io::read(source, &mut *scratch) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(Errno::AGAIN | Errno::INTR) => return true,
        Err(_) => return false,
    };
    let mut rest = &scratch[..count];
    while !rest.is_empty() {
        match rustix::io::write(sink, rest) {
            Ok(written) => rest = &rest[written..],
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let sink = sink.as_fd();
                if rustix::event::poll(&mut [PollFd::new(&sink, PollFlags::OUT)], None).is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// The same, without a look at the bytes.
fn carry_by(pipe: &(OwnedFd, OwnedFd), source: &OwnedFd, sink: &OwnedFd) -> bool {
    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
    let mut left = match rustix::pipe::splice(source, None, &pipe.1, None, READ_BYTES, flags) {
        Ok(0) => return false,
        Ok(count) => count,
        Err(Errno::AGAIN | Errno::INTR) => return true,
        Err(_) => return false,
    };
    while left > 0 {
        match rustix::pipe::splice(&pipe.0, None, sink, None, left, flags) {
            Ok(moved) => left -= moved,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let sink = sink.as_fd();
                if rustix::event::poll(&mut [PollFd::new(&sink, PollFlags::OUT)], None).is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 256;
const READ_BYTES: usize = 64 * 1024;
