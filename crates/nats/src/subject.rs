//! Where what is said: the subjects of a namespace, and how names become tokens of a subject (`docs/nats.md`, "Subjects").
//!
//! A subject is a text in tokens with dots between them; a token has no dot, blank, `*` or `>`. Names may have anything.

use sockeye_cluster::{Message, Nsp, Room, Uid};
use sockeye_proto::sid::Sid;

/// The longest prefix, in bytes.
pub const PREFIX_BYTES_MAX: usize = 64;

/// The longest name of a namespace, in bytes of its token; a longer one is refused.
pub const NSP_BYTES_MAX: usize = 512;

/// The longest name of a room, in bytes of its token; what is said to a room with a longer one goes to all servers.
pub const ROOM_BYTES_MAX: usize = 512;

/// The subjects of a namespace.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    prefix: String,
    nsp: String,
}

impl Subjects {
    /// The subjects of this namespace; `None`: its name is too long.
    pub(crate) fn new(prefix: &str, nsp: &Nsp) -> Option<Self> {
        let nsp = token(nsp);
        (nsp.len() <= NSP_BYTES_MAX).then(|| Self { prefix: prefix.to_owned(), nsp })
    }

    /// What all servers hear.
    pub(crate) fn all(&self) -> String {
        self.live("all")
    }

    /// What one server hears.
    pub(crate) fn one(&self, uid: &Uid) -> String {
        self.live(&format!("one.{}", token(uid)))
    }

    /// What those hear who have members in a room; `None`: all hear it.
    pub(crate) fn room(&self, room: &Room) -> Option<String> {
        place(room).map(|place| self.live(&place))
    }

    /// Where something for all servers is published: to the subject of its room, or of all.
    pub(crate) fn of(&self, message: &Message) -> String {
        if let Message::Broadcast { selector, request_id: None, .. } = message
            && let [room] = &selector.rooms[..]
            && let Some(subject) = self.room(room)
        {
            return subject;
        }
        self.all()
    }

    /// The subject in the stream from which the server publishes to this live one.
    pub(crate) fn kept(&self, live: &str) -> String {
        format!("{}-log{}", self.prefix, &live[self.prefix.len()..])
    }

    /// The live subject for one in the stream.
    pub(crate) fn live_of<'a>(&self, kept: &'a str) -> Option<std::borrow::Cow<'a, str>> {
        let rest = kept.strip_prefix(&self.prefix)?.strip_prefix("-log")?;
        Some(format!("{}{rest}", self.prefix).into())
    }

    /// Everything of this namespace that is in the stream.
    pub(crate) fn all_kept(&self) -> String {
        format!("{}-log.{}.>", self.prefix, self.nsp)
    }

    /// What all subjects begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The token of the namespace.
    pub(crate) fn nsp(&self) -> &str {
        &self.nsp
    }

    fn live(&self, rest: &str) -> String {
        format!("{}.{}.{rest}", self.prefix, self.nsp)
    }
}

/// Writes a name as a token: `[A-Za-z0-9_-]` stay, of anything else each byte of UTF-8 is `=` and two digits of hex. No name is a single `=`.
pub(crate) fn token(name: &str) -> String {
    if name.is_empty() {
        return "=".into();
    }
    let mut token = String::with_capacity(name.len() + 8);
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            token.push(char::from(byte));
        } else {
            token.push('=');
            token.push(char::from(HEX[usize::from(byte >> 4)]));
            token.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    token
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Where the members of a room are spoken to. The sockets of one server have one subject, as their ids begin alike.
fn place(room: &Room) -> Option<String> {
    if let Ok(sid) = room.parse::<Sid>() {
        return Some(format!("sid.{}", sid.tag()));
    }
    let token = token(room);
    (token.len() <= ROOM_BYTES_MAX).then(|| format!("room.{token}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_cluster::{Flags, Packet, Selector};

    #[test]
    fn names_of_any_kind_become_tokens_and_stay_apart() {
        for (name, expected) in [
            ("/", "=2F"),
            ("/chat", "=2Fchat"),
            ("", "="),
            ("=", "=3D"),
            ("a.b c*>", "a=2Eb=20c=2A=3E"),
            ("Küche", "K=C3=BCche"),
            ("a_b-9", "a_b-9"),
            ("\u{0}\n", "=00=0A"),
        ] {
            assert_eq!(token(name), expected, "{name:?}");
        }
    }

    #[test]
    fn what_is_said_to_one_room_goes_to_its_subject_alone() {
        let subjects = Subjects::new("sockeye", &"/".into()).unwrap();
        let long = "é".repeat(100);
        for (selector, expected) in [
            (Selector::all(), "sockeye.=2F.all"),
            (Selector::to("kitchen"), "sockeye.=2F.room.kitchen"),
            (Selector::to("kitchen").and_except("cook"), "sockeye.=2F.room.kitchen"),
            (Selector::to("kitchen").and_to("attic"), "sockeye.=2F.all"),
            (Selector::to("Ab3dE_00000000000000"), "sockeye.=2F.sid.Ab3dE_"),
            (Selector::to(long.as_str()), "sockeye.=2F.all"),
        ] {
            assert_eq!(subjects.of(&event(selector.clone(), false)), expected, "{selector:?}");
            assert_eq!(subjects.of(&event(selector, true)), "sockeye.=2F.all", "all answer a question");
        }
        assert_eq!(subjects.of(&Message::Heartbeat), "sockeye.=2F.all");
        assert_eq!(subjects.one(&"b0b".into()), "sockeye.=2F.one.b0b");
    }

    #[test]
    fn each_live_subject_has_one_in_the_stream() {
        let subjects = Subjects::new("s", &"/a".into()).unwrap();
        assert_eq!(subjects.kept(&subjects.all()), "s-log.=2Fa.all");
        assert_eq!(subjects.live_of("s-log.=2Fa.all").as_deref(), Some("s.=2Fa.all"));
        assert_eq!(subjects.live_of("other.=2Fa.all"), None);
        assert_eq!(subjects.all_kept(), "s-log.=2Fa.>");
        assert!(Subjects::new("s", &"n".repeat(NSP_BYTES_MAX + 1).as_str().into()).is_none());
    }

    fn event(selector: Selector, asks: bool) -> Message {
        let request_id = asks.then(|| "r".into());
        Message::Broadcast { selector, flags: Flags::default(), packet: Packet::text("[\"a\"]"), request_id }
    }
}
