//! The loop and the contract: reads a connection, does what its packets ask, writes once.
//!
//! Packets of one read are answered by one write, broadcasts of one read by one write to each client. An echo and a
//! broadcast of the same read may therefore leave in another order than they came.

use std::collections::HashMap;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::ask::{self, Ask};
use crate::door::{Doors, Role};
use crate::frame::{self, TEXT, Unfit};
use crate::http::{self, What};
use crate::poll::{self, Polls, SEPARATOR};

/// The server.
pub(crate) struct Floor {
    listener: OwnedFd,
    epoll: OwnedFd,
    doors: Doors,
    polls: Polls,
    rooms: HashMap<Box<[u8]>, Vec<Who>>,
    /// What every connection is read into.
    scratch: Vec<u8>,
    /// Frames for the connection at hand.
    out: Vec<u8>,
    /// Frames for everybody.
    cast: Vec<u8>,
    /// One frame for a room, or one HTTP answer.
    single: Vec<u8>,
    sid: String,
}

/// A client, by where it is found.
#[derive(Clone, Copy, PartialEq)]
enum Who {
    /// The WebSocket in this place.
    Socket(u32),
    /// The polling session in this place.
    Poll(u32),
}

impl Floor {
    /// A server on this listener.
    pub(crate) fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        // Accepted connections inherit it, which saves a call for each.
        rustix::net::sockopt::set_tcp_nodelay(&listener, true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
        let doors = Doors::new(epoll.try_clone()?);
        Ok(Self {
            listener: listener.into(),
            epoll,
            doors,
            polls: Polls::default(),
            rooms: HashMap::new(),
            scratch: vec![0; READ_BYTES],
            out: Vec::new(),
            cast: Vec::new(),
            single: Vec::new(),
            sid: String::new(),
        })
    }

    /// Serves until the process is ended.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            for &Event { flags, data } in &events {
                if data.u64() == LISTENER {
                    self.accept();
                    continue;
                }
                let place = u32::try_from(data.u64()).expect("a place");
                if flags.contains(EventFlags::OUT) {
                    self.doors.flush(place);
                }
                if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                    self.read(place);
                }
            }
        }
    }

    fn accept(&mut self) {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        while let Ok(socket) = rustix::net::accept_with(&self.listener, flags) {
            if let Err(error) = self.doors.open(socket) {
                eprintln!("floor: a connection was dropped: {error}");
            }
        }
    }

    fn read(&mut self, place: u32) {
        let mut scratch = std::mem::take(&mut self.scratch);
        if self.read_into(place, &mut scratch).is_err() {
            self.close(place);
        }
        self.scratch = scratch;
    }

    #[inline]
    fn read_into(&mut self, place: u32, scratch: &mut [u8]) -> Result<(), Unfit> {
        let Some(conn) = self.doors.at(place) else { return Ok(()) };
        let mut kept = 0;
        if let Some(rest) = conn.rest.as_mut() {
            kept = rest.input.len();
            scratch[..kept].copy_from_slice(&rest.input);
            rest.input.clear();
            if rest.output.is_empty() {
                conn.rest = None;
            }
        }
        let count = match rustix::io::read(&conn.socket, &mut scratch[kept..]) {
            Ok(0) => return Err(Unfit),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(_) => return Err(Unfit),
        };
        let bytes = &mut scratch[..kept + count];
        let done = match conn.role {
            Role::Http => self.requests(place, bytes)?,
            Role::Probe(_) | Role::Open | Role::Joined => self.frames(place, bytes)?,
        };
        if done == bytes.len() {
            return Ok(());
        }
        if bytes.len() == READ_BYTES {
            return Err(Unfit);
        }
        if let Some(conn) = self.doors.at(place) {
            conn.rest.get_or_insert_default().input.extend_from_slice(&bytes[done..]);
        }
        Ok(())
    }

    #[inline]
    fn frames(&mut self, place: u32, bytes: &mut [u8]) -> Result<usize, Unfit> {
        let mut done = 0;
        self.out.clear();
        self.cast.clear();
        while let Some(head) = frame::head(&bytes[done..])? {
            let payload = &mut bytes[done + head.start..done + head.end];
            done += head.end;
            frame::unmask(payload, head.mask);
            match head.opcode {
                TEXT => self.obey(Who::Socket(place), payload)?,
                frame::PING => frame::push(&mut self.out, frame::PONG, &[payload]),
                frame::PONG => {}
                frame::CLOSE => {
                    frame::push(&mut self.out, frame::CLOSE, &[payload]);
                    self.doors.send(place, &self.out);
                    return Err(Unfit);
                }
                _ => return Err(Unfit),
            }
        }
        if !self.out.is_empty() {
            self.doors.send(place, &self.out);
        }
        self.send_cast();
        Ok(done)
    }

    fn requests(&mut self, place: u32, bytes: &[u8]) -> Result<usize, Unfit> {
        let mut done = 0;
        while let Some(request) = http::request(&bytes[done..]) {
            done += request.end;
            match request.what {
                What::Health => self.answer(place, http::POSTED, b"ok"),
                What::Open => {
                    let session = self.polls.open();
                    let body = self.handshake(Some(session));
                    self.answer(place, http::PACKETS, body.as_bytes());
                }
                What::Poll { sid } => match self.polls.find(sid) {
                    Some(session) => {
                        if let Some(poll) = self.polls.at(session) {
                            poll.waiting = Some(place);
                        }
                        self.wake(session);
                    }
                    None => self.answer(place, http::UNKNOWN_SID, UNKNOWN_SID),
                },
                What::Post { sid, body } => match self.polls.find(sid) {
                    Some(session) => self.posted(place, session, body)?,
                    None => self.answer(place, http::UNKNOWN_SID, UNKNOWN_SID),
                },
                What::WebSocket { key, sid } => {
                    self.web_socket(place, key, sid);
                    break;
                }
                What::Other => self.answer(place, http::NOT_FOUND, b""),
            }
        }
        Ok(done)
    }

    fn posted(&mut self, place: u32, session: u32, body: &[u8]) -> Result<(), Unfit> {
        self.cast.clear();
        for packet in body.split(|&byte| byte == SEPARATOR) {
            self.obey(Who::Poll(session), packet)?;
        }
        self.answer(place, http::POSTED, b"ok");
        self.wake(session);
        self.send_cast();
        Ok(())
    }

    fn web_socket(&mut self, place: u32, key: &[u8], sid: Option<&[u8]>) {
        let session = sid.map(|sid| self.polls.find(sid));
        let role = match session {
            Some(None) => return self.answer(place, http::UNKNOWN_SID, UNKNOWN_SID),
            Some(Some(session)) => Role::Probe(session),
            None => Role::Open,
        };
        http::switch(&mut self.single, key);
        if role == Role::Open {
            let hello = self.handshake(None);
            frame::push(&mut self.single, TEXT, &[hello.as_bytes()]);
        }
        self.doors.send(place, &self.single);
        self.play(place, role);
    }

    /// Does what one packet asks for.
    #[inline]
    fn obey(&mut self, who: Who, packet: &[u8]) -> Result<(), Unfit> {
        match ask::of(packet) {
            Ask::Echo => self.reply(who, &[packet]),
            Ask::Ack { id, rest } => self.reply(who, &[b"43", id, b"[", rest]),
            Ask::Broadcast => {
                frame::push(&mut self.cast, TEXT, &[packet]);
                self.cast_to_polls(packet);
            }
            Ask::Room { room, rest } => self.send_room(room, rest),
            Ask::Join { id, room } => {
                let members = self.rooms.entry(room.into()).or_default();
                if !members.contains(&who) {
                    members.push(who);
                }
                self.reply(who, &[b"43", id, b"[]"]);
            }
            Ask::Connect => self.connect(who),
            Ask::Probe => self.probe(who),
            Ask::Upgrade => self.upgrade(who),
            Ask::Disconnect | Ask::Close => return Err(Unfit),
            Ask::Other => {}
        }
        Ok(())
    }

    fn connect(&mut self, who: Who) {
        match who {
            Who::Socket(place) => {
                poll::sid(&mut self.sid, place, 0);
                self.play(place, Role::Joined);
            }
            Who::Poll(session) => {
                let Some(poll) = self.polls.at(session) else { return };
                poll.joined = true;
                poll::sid(&mut self.sid, session, poll.serial);
            }
        }
        let sid = std::mem::take(&mut self.sid);
        self.reply(who, &[b"40{\"sid\":\"", sid.as_bytes(), b"\"}"]);
        self.sid = sid;
    }

    fn probe(&mut self, who: Who) {
        let Who::Socket(place) = who else { return };
        let Some(Role::Probe(session)) = self.doors.at(place).map(|conn| conn.role) else { return };
        self.reply(who, &[b"3probe"]);
        if let Some(poll) = self.polls.at(session) {
            poll.probed = true;
        }
        self.wake(session);
    }

    fn upgrade(&mut self, who: Who) {
        let Who::Socket(place) = who else { return };
        let Some(Role::Probe(session)) = self.doors.at(place).map(|conn| conn.role) else { return };
        let Some(poll) = self.polls.close(session) else { return };
        if let Some(waiting) = poll.waiting {
            self.answer(waiting, http::PACKETS, b"6");
        }
        for packet in poll.out.split(|&byte| byte == SEPARATOR).filter(|packet| !packet.is_empty()) {
            frame::push(&mut self.out, TEXT, &[packet]);
        }
        for members in self.rooms.values_mut() {
            for member in members.iter_mut().filter(|member| **member == Who::Poll(session)) {
                *member = who;
            }
        }
        self.play(place, if poll.joined { Role::Joined } else { Role::Open });
    }

    fn send_room(&mut self, room: &[u8], rest: &[u8]) {
        let Some(members) = self.rooms.get(room) else { return };
        let parts: [&[u8]; 2] = [b"42[\"room\",", rest];
        self.single.clear();
        frame::push(&mut self.single, TEXT, &parts);
        let mut polling = Vec::new();
        for &member in members {
            match member {
                Who::Socket(place) => self.doors.send(place, &self.single),
                Who::Poll(session) => {
                    if let Some(poll) = self.polls.at(session) {
                        poll.push(&parts);
                        polling.push(session);
                    }
                }
            }
        }
        for session in polling {
            self.wake(session);
        }
    }

    #[inline]
    fn send_cast(&mut self) {
        if !self.cast.is_empty() {
            self.doors.send_all(&self.cast);
        }
    }

    fn cast_to_polls(&mut self, packet: &[u8]) {
        let mut waiting = Vec::new();
        for (session, poll) in self.polls.all().filter(|(_, poll)| poll.joined) {
            poll.push(&[packet]);
            waiting.push(session);
        }
        for session in waiting {
            self.wake(session);
        }
    }

    /// Answers a session's GET, if one waits and there is something to say.
    fn wake(&mut self, session: u32) {
        let Some(poll) = self.polls.at(session) else { return };
        let Some(place) = poll.waiting.filter(|_| poll.probed || !poll.out.is_empty()) else { return };
        poll.waiting = None;
        let body: &[u8] = if poll.out.is_empty() { b"6" } else { &poll.out };
        http::answer(&mut self.single, http::PACKETS, body);
        poll.out.clear();
        self.doors.send(place, &self.single);
    }

    #[inline]
    fn reply(&mut self, who: Who, parts: &[&[u8]]) {
        match who {
            Who::Socket(_) => frame::push(&mut self.out, TEXT, parts),
            Who::Poll(session) => {
                if let Some(poll) = self.polls.at(session) {
                    poll.push(parts);
                }
            }
        }
    }

    fn answer(&mut self, place: u32, fixed: &[u8], body: &[u8]) {
        http::answer(&mut self.single, fixed, body);
        self.doors.send(place, &self.single);
    }

    fn play(&mut self, place: u32, role: Role) {
        if let Some(conn) = self.doors.at(place) {
            conn.role = role;
        }
    }

    /// The open packet. A polling session's sid is its key; a WebSocket's is never asked for again.
    fn handshake(&mut self, session: Option<u32>) -> String {
        let (place, serial) = match session {
            Some(session) => (session, self.polls.at(session).map_or(0, |poll| poll.serial)),
            None => (0, 0),
        };
        let upgrades = if session.is_some() { "\"websocket\"" } else { "" };
        poll::sid(&mut self.sid, place, serial);
        format!(
            "0{{\"sid\":\"{}\",\"upgrades\":[{upgrades}],\"pingInterval\":{PING_INTERVAL},\
             \"pingTimeout\":20000,\"maxPayload\":60000}}",
            self.sid
        )
    }

    fn close(&mut self, place: u32) {
        let Some(conn) = self.doors.close(place) else { return };
        if conn.role == Role::Joined {
            for members in self.rooms.values_mut() {
                members.retain(|member| *member != Who::Socket(place));
            }
        }
        let gone = self.polls.all().find(|(_, poll)| poll.waiting == Some(place)).map(|(session, _)| session);
        if let Some(session) = gone {
            self.polls.close(session);
            for members in self.rooms.values_mut() {
                members.retain(|member| *member != Who::Poll(session));
            }
        }
    }
}

/// What the event set calls the listener.
const LISTENER: u64 = u64::MAX;
/// Events taken in one wait.
const EVENTS: usize = 1024;
/// The read buffer; a request or frame that does not fit ends its connection.
const READ_BYTES: usize = 128 << 10;
/// A day in milliseconds: the floor sends no heartbeats, and stock clients then expect none.
const PING_INTERVAL: u32 = 86_400_000;
const UNKNOWN_SID: &[u8] = br#"{"code":1,"message":"Session ID unknown"}"#;
