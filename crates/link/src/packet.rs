//! A `SOCK_SEQPACKET` Unix socket in the reactor: send a packet, receive a packet, with at most one descriptor beside.
//!
//! Knows no message; tells the three outcomes of a try apart (done, not now, gone).

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recvmsg, sendmsg, socket_with,
};
use tokio::io::unix::AsyncFd;

use crate::message::Misbehaved;

/// How long to wait when too many descriptors are in flight: the kernel tells nobody when that is over.
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(10);

/// How long to wait when the listener's backlog is full.
const BACKLOG_PAUSE: Duration = Duration::from_millis(10);

/// How many workers may wait to be accepted.
const BACKLOG: i32 = 4096;

/// One end of a connected pair, or a listener.
pub(crate) struct Socket {
    fd: AsyncFd<OwnedFd>,
}

/// What one packet was.
pub(crate) struct Packet {
    pub(crate) bytes: usize,
    pub(crate) descriptor: Option<OwnedFd>,
    /// Longer than the buffer: the rest of it is lost.
    pub(crate) truncated: bool,
}

impl Packet {
    /// The whole message, where the buffer holds it.
    pub(crate) fn message<'a>(&self, buffer: &'a [u8]) -> Result<&'a [u8], Misbehaved> {
        if self.truncated { Err(Misbehaved::TooLong(buffer.len())) } else { Ok(&buffer[..self.bytes]) }
    }
}

/// What trying to send led to.
enum Sending {
    Sent,
    /// The socket is full, and the reactor will say when it is not.
    Full,
    /// Too many descriptors are in flight, or the kernel is out of memory: nobody will say when that is over.
    InFlight,
    Gone(io::Error),
}

impl Socket {
    #[expect(deprecated, reason = "its replacement is an unsafe fn; an OwnedFd keeps all that it asks for")]
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: AsyncFd::new(fd)? })
    }

    pub(crate) fn listen(path: &Path) -> io::Result<Self> {
        let fd = seqpacket()?;
        bind(&fd, &SocketAddrUnix::new(path)?)?;
        listen(&fd, BACKLOG)?;
        Self::new(fd)
    }

    pub(crate) async fn connect(path: &Path) -> io::Result<Self> {
        let (fd, address) = (seqpacket()?, SocketAddrUnix::new(path)?);
        loop {
            match connect(&fd, &address) {
                Ok(()) => return Self::new(fd),
                Err(Errno::AGAIN) => tokio::time::sleep(BACKLOG_PAUSE).await,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Self> {
        loop {
            let mut guard = self.fd.readable().await?;
            match accept_with(self.fd.get_ref(), SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(fd) => return Self::new(fd),
                Err(Errno::AGAIN) => guard.clear_ready(),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Sends a packet once the socket takes it.
    ///
    /// # Errors
    /// The other end is gone, whatever the kernel calls it.
    ///
    /// # Cancel safety
    /// A packet is sent whole or not at all; dropped before it is done, it was not sent.
    pub(crate) async fn send(
        &self,
        head: &[u8],
        tail: &[u8],
        descriptor: Option<BorrowedFd<'_>>,
    ) -> io::Result<()> {
        loop {
            let mut guard = self.fd.writable().await?;
            match self.try_send(head, tail, descriptor) {
                Sending::Sent => return Ok(()),
                Sending::Full => guard.clear_ready(),
                Sending::InFlight => tokio::time::sleep(IN_FLIGHT_PAUSE).await,
                Sending::Gone(error) => return Err(error),
            }
        }
    }

    fn try_send(&self, head: &[u8], tail: &[u8], descriptor: Option<BorrowedFd<'_>>) -> Sending {
        let parts = [IoSlice::new(head), IoSlice::new(tail)];
        let mut space = [const { MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if descriptor.is_some() {
            let pushed = control.push(SendAncillaryMessage::ScmRights(descriptor.as_slice()));
            assert!(pushed, "the space is made for one descriptor");
        }
        loop {
            return match sendmsg(self.fd.get_ref(), &parts, &mut control, SendFlags::NOSIGNAL) {
                Ok(_) => Sending::Sent,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Sending::Full,
                Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => Sending::InFlight,
                Err(error) => Sending::Gone(error.into()),
            };
        }
    }

    /// Receives the next packet; `None` when the other end closed. Cancel-safe.
    pub(crate) async fn recv(&self, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
        loop {
            let mut guard = self.fd.readable().await?;
            match self.try_recv(buffer) {
                Ok(packet) => return Ok(packet),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives a packet that is already there; `WouldBlock` if none is, `None` when the other end closed.
    pub(crate) fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<Packet>> {
        let mut space = [const { MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = loop {
            match recvmsg(self.fd.get_ref(), &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                other => break other?,
            }
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        // A descriptor that did not fit our table is dropped by the kernel (MSG_CTRUNC): then there is none here.
        let descriptor = control.drain().find_map(|message| {
            let RecvAncillaryMessage::ScmRights(mut descriptors) = message else { return None };
            descriptors.next()
        });
        let truncated = received.flags.contains(ReturnFlags::TRUNC);
        Ok(Some(Packet { bytes: received.bytes, descriptor, truncated }))
    }

    /// The process at the other end, by the kernel's word.
    pub(crate) fn peer_pid(&self) -> io::Result<u32> {
        let credentials = rustix::net::sockopt::socket_peercred(self.fd.get_ref())?;
        Ok(credentials.pid.as_raw_nonzero().get().unsigned_abs())
    }
}

fn seqpacket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}
