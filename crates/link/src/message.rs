//! The messages and how they lie in a packet: one byte of kind, then the body. Pure.
//!
//! | kind | direction | body |
//! | --- | --- | --- |
//! | 1 `Hello` | to the parent | JSON |
//! | 2 `Ready` | to the parent | JSON |
//! | 3 `Receipt` | to the parent | `u64` big endian: connections received since the start, cumulative |
//! | 4 `Load` | to the parent | `u32` sessions, `u64` arrived, big endian |
//! | 5 `Draining` | to the parent | none |
//! | 6 `Bye` | to the parent | none |
//! | 7 `Lost` | to the parent | `u64` big endian: the number (from 1) of a connection that came without its descriptor |
//! | 65 `Assign` | to the worker | JSON |
//! | 66 `Connection` | to the worker | family (4 or 6), address, port (and scope), then the bytes read; one descriptor |
//! | 67 `Drain` | to the worker | `u64` big endian: milliseconds |
//! | 68 `Stop` | to the worker | none |
//! | 69 `Shed` | to the worker | `u64` big endian: sessions to let go |
//!
//! Numbers lie big endian. A packet of an unknown kind ends the link: both ends are the same version or do not talk.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::HEAD_BYTES_MAX;

/// Counts the versions of the messages; both ends must speak the same.
pub const VERSION: u32 = 2;

/// The first word of a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version the worker speaks: [`VERSION`].
    pub version: u32,
    /// The worker's process id as it sees it; the kernel's word decides, this one is for logs.
    pub pid: u32,
    /// The instance number it was started with.
    pub instance: u32,
}

/// The parent's answer: what the worker shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// The node's tag, with which every session id it issues begins.
    pub tag: String,
    /// Where the nodes of this machine meet.
    pub mesh_dir: PathBuf,
    /// The Unix socket on which it takes relayed requests.
    pub http_path: PathBuf,
    /// The address of its own TCP port, if it is to have one.
    pub host: Option<IpAddr>,
    /// Its own TCP port, if it is to have one.
    pub port: Option<u16>,
    /// How many threads it may use; its own choice if absent.
    pub threads: Option<NonZeroUsize>,
}

/// A worker's word that it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The tag it serves.
    pub tag: String,
    /// Where it takes relayed requests.
    pub http: PathBuf,
    /// Its own TCP port, if it has one.
    pub port: Option<u16>,
    /// The public address that its program asks for: the parent opens it, unless somebody told it another one.
    #[serde(default)]
    pub asked: Option<SocketAddr>,
}

/// How much a worker has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Sessions that live at this moment.
    pub sessions: u32,
    /// Sid-less handshakes that ever came through the edge, handed over or relayed, whatever became of them.
    pub arrived: u64,
}

/// A message from a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToParent {
    Hello(Hello),
    Ready(Ready),
    Receipt(u64),
    Load(Load),
    Draining,
    Bye,
    Lost(u64),
}

/// A message from the parent; a connection's descriptor travels beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToWorker<'a> {
    Assign(Assign),
    Connection { peer: SocketAddr, read: &'a [u8] },
    Drain(Duration),
    Stop,
    Shed(u64),
}

/// Why a packet is not one of ours: the other end is at fault and the link ends.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Misbehaved {
    #[error("expected a message, got an empty packet")]
    Empty,
    #[error("unknown message kind {0}")]
    Kind(u8),
    #[error("malformed body of message kind {0}")]
    Body(u8),
    #[error("expected version {expected}, got {0}", expected = VERSION)]
    Version(u32),
    #[error("receipt for {got} connections, expected {least} to {most}")]
    Receipt { got: u64, least: u64, most: u64 },
    #[error("expected one assignment, got two")]
    Assigned,
    #[error("packet of more than {0} bytes")]
    TooLong(usize),
}

/// The longest header of a connection: kind, family, IPv6 address, port, scope.
const HEADER_BYTES_MAX: usize = 1 + 1 + 16 + 2 + 4;

/// The longest packet either end sends.
pub(crate) const PACKET_BYTES_MAX: usize = HEADER_BYTES_MAX + HEAD_BYTES_MAX;

/// The longest packet a worker sends: control only.
pub(crate) const CONTROL_BYTES_MAX: usize = 4096;

const HELLO: u8 = 1;
const READY: u8 = 2;
const RECEIPT: u8 = 3;
const LOAD: u8 = 4;
const DRAINING: u8 = 5;
const BYE: u8 = 6;
const LOST: u8 = 7;
const ASSIGN: u8 = 65;
const CONNECTION: u8 = 66;
const DRAIN: u8 = 67;
const STOP: u8 = 68;
const SHED: u8 = 69;

impl ToParent {
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Hello(hello) => json(HELLO, hello),
            Self::Ready(ready) => json(READY, ready),
            Self::Receipt(count) => number(RECEIPT, *count),
            Self::Load(load) => {
                let mut packet = Vec::with_capacity(13);
                packet.push(LOAD);
                packet.extend_from_slice(&load.sessions.to_be_bytes());
                packet.extend_from_slice(&load.arrived.to_be_bytes());
                packet
            }
            Self::Draining => vec![DRAINING],
            Self::Bye => vec![BYE],
            Self::Lost(number_) => number(LOST, *number_),
        }
    }

    pub(crate) fn decode(packet: &[u8]) -> Result<Self, Misbehaved> {
        let (&kind, body) = packet.split_first().ok_or(Misbehaved::Empty)?;
        match kind {
            HELLO => from_json(kind, body).map(Self::Hello),
            READY => from_json(kind, body).map(Self::Ready),
            RECEIPT => from_number(kind, body).map(Self::Receipt),
            LOAD => {
                let (sessions, arrived) = body.split_first_chunk::<4>().ok_or(Misbehaved::Body(kind))?;
                let sessions = u32::from_be_bytes(*sessions);
                from_number(kind, arrived).map(|arrived| Self::Load(Load { sessions, arrived }))
            }
            DRAINING => nothing(kind, body).map(|()| Self::Draining),
            BYE => nothing(kind, body).map(|()| Self::Bye),
            LOST => from_number(kind, body).map(Self::Lost),
            kind => Err(Misbehaved::Kind(kind)),
        }
    }
}

impl<'a> ToWorker<'a> {
    /// Writes everything but the bytes of a connection, which follow in the same packet, sent from where they lie.
    pub(crate) fn encode_head(&self) -> Vec<u8> {
        match self {
            Self::Assign(assign) => json(ASSIGN, assign),
            Self::Connection { peer, .. } => encode_peer(*peer),
            Self::Drain(within) => number(DRAIN, u64::try_from(within.as_millis()).unwrap_or(u64::MAX)),
            Self::Stop => vec![STOP],
            Self::Shed(sessions) => number(SHED, *sessions),
        }
    }

    pub(crate) fn decode(packet: &'a [u8]) -> Result<Self, Misbehaved> {
        let (&kind, body) = packet.split_first().ok_or(Misbehaved::Empty)?;
        match kind {
            ASSIGN => from_json(kind, body).map(Self::Assign),
            CONNECTION => {
                let (peer, read) = decode_peer(body).ok_or(Misbehaved::Body(kind))?;
                Ok(Self::Connection { peer, read })
            }
            DRAIN => from_number(kind, body).map(|ms| Self::Drain(Duration::from_millis(ms))),
            STOP => nothing(kind, body).map(|()| Self::Stop),
            SHED => from_number(kind, body).map(Self::Shed),
            kind => Err(Misbehaved::Kind(kind)),
        }
    }
}

fn encode_peer(peer: SocketAddr) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER_BYTES_MAX);
    packet.push(CONNECTION);
    match peer {
        SocketAddr::V4(peer) => {
            packet.push(4);
            packet.extend_from_slice(&peer.ip().octets());
            packet.extend_from_slice(&peer.port().to_be_bytes());
        }
        SocketAddr::V6(peer) => {
            packet.push(6);
            packet.extend_from_slice(&peer.ip().octets());
            packet.extend_from_slice(&peer.port().to_be_bytes());
            packet.extend_from_slice(&peer.scope_id().to_be_bytes());
        }
    }
    packet
}

fn decode_peer(body: &[u8]) -> Option<(SocketAddr, &[u8])> {
    let (family, body) = body.split_first()?;
    match family {
        4 => {
            let (ip, body) = body.split_first_chunk::<4>()?;
            let (port, read) = body.split_first_chunk::<2>()?;
            let ip = IpAddr::V4(Ipv4Addr::from(*ip));
            Some((SocketAddr::new(ip, u16::from_be_bytes(*port)), read))
        }
        6 => {
            let (ip, body) = body.split_first_chunk::<16>()?;
            let (port, body) = body.split_first_chunk::<2>()?;
            let (scope, read) = body.split_first_chunk::<4>()?;
            let (port, scope) = (u16::from_be_bytes(*port), u32::from_be_bytes(*scope));
            Some((SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, scope)), read))
        }
        _ => None,
    }
}

fn json(kind: u8, body: &impl Serialize) -> Vec<u8> {
    let mut packet = vec![kind];
    serde_json::to_writer(&mut packet, body).expect("plain structs with UTF-8 paths become JSON");
    packet
}

fn from_json<T: serde::de::DeserializeOwned>(kind: u8, body: &[u8]) -> Result<T, Misbehaved> {
    serde_json::from_slice(body).map_err(|_| Misbehaved::Body(kind))
}

fn number(kind: u8, number: u64) -> Vec<u8> {
    let mut packet = Vec::with_capacity(9);
    packet.push(kind);
    packet.extend_from_slice(&number.to_be_bytes());
    packet
}

fn from_number(kind: u8, body: &[u8]) -> Result<u64, Misbehaved> {
    body.try_into().map(u64::from_be_bytes).map_err(|_| Misbehaved::Body(kind))
}

fn nothing(kind: u8, body: &[u8]) -> Result<(), Misbehaved> {
    if body.is_empty() { Ok(()) } else { Err(Misbehaved::Body(kind)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_worker_says_arrives_as_said() {
        check_to_parent(ToParent::Hello(Hello { version: 1, pid: 4711, instance: 3 }), None);
        let ready = Ready {
            tag: "Ab3-_x".into(),
            http: "/run/s/http/Ab3-_x.sock".into(),
            port: Some(3001),
            asked: "127.0.0.1:3000".parse().ok(),
        };
        check_to_parent(ToParent::Ready(ready), None);
        check_to_parent(ToParent::Receipt(0x0102), Some(&[3, 0, 0, 0, 0, 0, 0, 1, 2]));
        let load = Load { sessions: 5, arrived: 258 };
        check_to_parent(ToParent::Load(load), Some(&[4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 1, 2]));
        check_to_parent(ToParent::Draining, Some(&[5]));
        check_to_parent(ToParent::Bye, Some(&[6]));
        check_to_parent(ToParent::Lost(u64::MAX), Some(&[7, 255, 255, 255, 255, 255, 255, 255, 255]));
    }

    #[test]
    fn what_the_parent_says_arrives_as_said() {
        let assign = Assign {
            tag: "Ab3-_x".into(),
            mesh_dir: "/run/s/mesh".into(),
            http_path: "/run/s/http/Ab3-_x.sock".into(),
            host: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            port: Some(3001),
            threads: NonZeroUsize::new(2),
        };
        check_to_worker(&ToWorker::Assign(assign));
        check_to_worker(&ToWorker::Connection { peer: "127.0.0.1:5".parse().unwrap(), read: b"" });
        check_to_worker(&ToWorker::Connection {
            peer: "192.0.2.7:65535".parse().unwrap(),
            read: b"GET / HTTP/1.1\r\n",
        });
        check_to_worker(&ToWorker::Connection { peer: "[fe80::1%7]:80".parse().unwrap(), read: &[0, 255] });
        check_to_worker(&ToWorker::Drain(Duration::from_millis(1500)));
        check_to_worker(&ToWorker::Shed(3));
        check_to_worker(&ToWorker::Stop);
    }

    #[test]
    fn what_is_no_message_is_named() {
        for (packet, expected) in [
            (&[][..], Misbehaved::Empty),
            (&[0], Misbehaved::Kind(0)),
            (&[66], Misbehaved::Kind(66)),
            (&[1], Misbehaved::Body(1)),
            (b"\x01{}", Misbehaved::Body(1)),
            (&[3], Misbehaved::Body(3)),
            (&[3, 0, 0, 0, 0, 0, 0, 0], Misbehaved::Body(3)),
            (&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0], Misbehaved::Body(3)),
            (&[4, 0, 0], Misbehaved::Body(4)),
            (&[4, 0, 0, 0, 5, 0], Misbehaved::Body(4)),
            (&[5, 0], Misbehaved::Body(5)),
            (&[6, 0], Misbehaved::Body(6)),
        ] {
            assert_eq!(ToParent::decode(packet), Err(expected), "{packet:?}");
        }
        for (packet, expected) in [
            (&[][..], Misbehaved::Empty),
            (&[1], Misbehaved::Kind(1)),
            (&[65], Misbehaved::Body(65)),
            (&[66], Misbehaved::Body(66)),
            (&[66, 4, 127, 0, 0, 1, 0], Misbehaved::Body(66)),
            (&[66, 5, 127, 0, 0, 1, 0, 80], Misbehaved::Body(66)),
            (&[66, 6, 127, 0, 0, 1, 0, 80], Misbehaved::Body(66)),
            (&[67], Misbehaved::Body(67)),
            (&[68, 1], Misbehaved::Body(68)),
        ] {
            assert_eq!(ToWorker::decode(packet), Err(expected), "{packet:?}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics(packet in proptest::collection::vec(any::<u8>(), 0..64), kind in 0..70u8) {
            let _ = ToParent::decode(&packet);
            let _ = ToWorker::decode(&packet);
            let packet: Vec<u8> = [kind].into_iter().chain(packet).collect();
            let _ = ToParent::decode(&packet);
            let _ = ToWorker::decode(&packet);
        }
    }

    #[track_caller]
    fn check_to_parent(message: ToParent, expected: Option<&[u8]>) {
        let packet = message.encode();
        if let Some(expected) = expected {
            assert_eq!(packet, expected);
        }
        assert_eq!(ToParent::decode(&packet), Ok(message));
    }

    #[track_caller]
    fn check_to_worker(message: &ToWorker<'_>) {
        let mut packet = message.encode_head();
        if let ToWorker::Connection { read, .. } = message {
            packet.extend_from_slice(read);
        }
        assert_eq!(ToWorker::decode(&packet).as_ref(), Ok(message));
    }
}
