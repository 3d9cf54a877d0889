//! Connections and the wait for them: opened one after the other, then never blocking.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context as _, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::time::Timespec;

use crate::tls::Tls;
use crate::wire;

/// One connection and the start of what has not fully arrived on it.
pub(crate) struct Link {
    socket: OwnedFd,
    tls: Option<Tls>,
    rest: Vec<u8>,
}

impl Link {
    /// Connects; the `nth` of a run picks one of several source addresses, so that ports do not run out.
    pub(crate) fn connect(to: SocketAddr, nth: usize) -> anyhow::Result<Self> {
        let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
        if let IpAddr::V4(ip) = to.ip()
            && ip.is_loopback()
        {
            let last = u8::try_from(nth % SOURCES)? + 1;
            rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::new(127, 0, 1, last), 0)))?;
        }
        // On loopback the kernel alone completes this: it does not wait for the server to accept.
        rustix::net::connect(&socket, &to).with_context(|| format!("cannot connect to {to}"))?;
        let tls = Tls::open(&socket)?;
        Ok(Self { socket, tls, rest: Vec::new() })
    }

    /// Opens a WebSocket and joins the namespace, waiting for each answer.
    pub(crate) fn joined(to: SocketAddr, nth: usize) -> anyhow::Result<Self> {
        let mut link = Self::connect(to, nth)?;
        link.send(wire::upgrade(to, None).as_bytes())?;
        link.await_with(|bytes| Ok(wire::switched(bytes)?.map(|end| ((), end))))?;
        link.await_text(|open| wire::sid(open).map(drop))?;
        link.send(&wire::masked("40"))?;
        link.await_text(wire::joined)?;
        if let Some((wire::PING, end)) = wire::text(&link.rest)? {
            link.rest.drain(..end);
            link.send(&wire::masked("3"))?;
        }
        Ok(link)
    }

    /// Waits for one text frame that is no heartbeat; only for connections that still block.
    pub(crate) fn await_text<T>(&mut self, read: impl Fn(&[u8]) -> anyhow::Result<T>) -> anyhow::Result<T> {
        loop {
            let found = self.await_with(|bytes| match wire::text(bytes)? {
                Some((wire::PING, end)) => Ok(Some((None, end))),
                Some((payload, end)) => Ok(Some((Some(read(payload)?), end))),
                None => Ok(None),
            })?;
            match found {
                Some(found) => return Ok(found),
                None => self.send(&wire::masked("3"))?,
            }
        }
    }

    /// Waits for one HTTP answer; only for connections that still block.
    pub(crate) fn await_answer<T>(&mut self, read: impl Fn(&[u8]) -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.await_with(|bytes| match wire::answer(bytes)? {
            Some((body, end)) => Ok(Some((read(body)?, end))),
            None => Ok(None),
        })
    }

    fn await_with<T>(
        &mut self,
        find: impl Fn(&[u8]) -> anyhow::Result<Option<(T, usize)>>,
    ) -> anyhow::Result<T> {
        let mut buffer = [0; 4096];
        loop {
            if let Some((found, end)) = find(&self.rest)? {
                self.rest.drain(..end);
                return Ok(found);
            }
            let count = match &self.tls {
                Some(tls) => tls.read(&self.socket, &mut buffer)?,
                None => {
                    let count = rustix::io::read(&self.socket, &mut buffer)?;
                    ensure!(count > 0, "the server closed a connection that was being opened");
                    count
                }
            };
            self.rest.extend_from_slice(&buffer[..count]);
        }
    }

    /// What has arrived, with what was kept before it.
    #[inline]
    pub(crate) fn read<'a>(&mut self, scratch: &'a mut [u8]) -> anyhow::Result<&'a [u8]> {
        let kept = self.rest.len();
        if kept > 0 {
            scratch[..kept].copy_from_slice(&self.rest);
            self.rest.clear();
        }
        if let Some(tls) = &self.tls {
            let count = tls.read(&self.socket, &mut scratch[kept..])?;
            return Ok(&scratch[..kept + count]);
        }
        let count = match rustix::io::read(&self.socket, &mut scratch[kept..]) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error).context("the server dropped a connection"),
        };
        Ok(&scratch[..kept + count])
    }

    /// Keeps the start of something that is not whole yet for the next [`Self::read`].
    #[inline]
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.rest.extend_from_slice(bytes);
        }
    }

    /// Sends all of it, at once.
    #[inline]
    pub(crate) fn send(&self, bytes: &[u8]) -> anyhow::Result<()> {
        if let Some(tls) = &self.tls {
            return tls.send(&self.socket, bytes);
        }
        let count = rustix::io::write(&self.socket, bytes).context("cannot send to the server")?;
        ensure!(count == bytes.len(), "a socket's buffer is full: fewer --in-flight or a smaller --payload");
        Ok(())
    }

    /// Answers what may come at any time, the heartbeat; anything else is a wrong answer.
    #[cold]
    pub(crate) fn odd(&self, payload: &[u8], expected: &[u8]) -> anyhow::Result<()> {
        if payload == wire::PING {
            return self.send(&wire::masked("3"));
        }
        let (got, expected) = (String::from_utf8_lossy(payload), String::from_utf8_lossy(expected));
        bail!("wrong answer: expected {expected}, got {got}")
    }
}

/// Waits for many connections at once.
pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<Event>,
}

impl Poller {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)?, events: Vec::with_capacity(EVENTS) })
    }

    /// Takes in a connection under this number. It blocks no more.
    pub(crate) fn add(&self, link: &Link, number: usize) -> anyhow::Result<()> {
        rustix::io::ioctl_fionbio(&link.socket, true)?;
        Ok(epoll::add(&self.epoll, &link.socket, EventData::new_u64(number as u64), EventFlags::IN)?)
    }

    /// Waits until something has arrived, at most this long.
    pub(crate) fn wait(&mut self, at_most: &Timespec) -> anyhow::Result<()> {
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(at_most)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The numbers of the connections on which something has arrived.
    pub(crate) fn ready(&self) -> impl Iterator<Item = usize> {
        self.events.iter().map(|event| {
            let Event { data, .. } = *event;
            usize::try_from(data.u64()).expect("it was a usize")
        })
    }
}

/// The buffer everything is read into.
pub(crate) fn scratch() -> Vec<u8> {
    vec![0; SCRATCH_BYTES]
}

/// Source addresses in 127.0.1.0/24, each with about 28,000 ports.
const SOURCES: usize = 64;
/// Events taken in one wait.
const EVENTS: usize = 1024;
const SCRATCH_BYTES: usize = 512 << 10;
