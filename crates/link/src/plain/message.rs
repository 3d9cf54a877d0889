//! The words of the plain link, each a line of JSON, as `docs/plain-link.md` says. Pure.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The variable that holds the path of the parent's socket.
pub const PLAIN_LINK_VARIABLE: &str = "SOCKEYE_PLAIN_LINK";

/// Counts the versions of the words; both ends must speak the same.
pub const VERSION: u32 = 1;

/// The longest line, its end not counted; a longer one ends the link.
pub const LINE_BYTES_MAX: usize = 8192;

/// A word of the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToParent {
    /// The first word.
    Hello(Hello),
    /// The program wants to listen.
    Listen(Listen),
    /// The Unix socket of a listen takes connections. Said again when `sids` changes.
    Ready {
        /// Which listen.
        id: u32,
        /// How its clients can be told apart.
        sids: Sids,
    },
    /// How many Engine.IO sessions live in this process.
    Load {
        /// At this moment.
        sessions: u32,
        /// How many ever began, where it counts them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arrived: Option<u64>,
    },
    /// The program closed a listen, or gave it up before it was answered.
    Closed {
        /// Which listen.
        id: u32,
    },
    /// The program cannot run several times behind one address.
    Unfit {
        /// Why, for people.
        reason: String,
    },
    /// A word of a later revision: ignored.
    #[serde(other)]
    Unknown,
}

/// Who reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The version the worker speaks: [`VERSION`].
    pub version: u32,
    /// Its process id as it sees it; the kernel's word decides, this one is for logs.
    pub pid: u32,
    /// The instance it belongs to. Several processes may belong to one.
    pub instance: u32,
}

/// A public address that a program wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listen {
    /// Names this listen; each one of a process is higher than those before.
    pub id: u32,
    /// The address; all addresses of both families if absent.
    pub host: Option<IpAddr>,
    /// The port, never 0.
    pub port: u16,
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
}

/// What a program speaks with those who connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 without TLS.
    #[default]
    Http,
    /// Something of its own.
    Tcp,
}

/// How the session ids of a process lead back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sids {
    /// They begin with its tag.
    Tagged,
    /// The program makes its own: they have to be read off its handshake replies.
    Learnt,
}

/// A word of the parent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToWorker {
    /// The answer to Hello.
    Assign(Assign),
    /// The public address is open: bind this Unix socket in its place.
    Listening {
        /// Which listen.
        id: u32,
        /// The socket to bind.
        path: PathBuf,
    },
    /// The program cannot have what it asked for.
    Refuse {
        /// Which listen.
        id: u32,
        /// The system's name of the error, such as `EADDRINUSE`, if it has one.
        code: Option<String>,
        /// Why, for people.
        reason: String,
    },
    /// That is the program's own business, and none of the edge's: listen there as without a parent.
    Alone {
        /// Which listen.
        id: u32,
    },
    /// Let the sessions go, spread over this time.
    Drain {
        /// In milliseconds.
        ms: u64,
    },
    /// Leave the mesh; a signal follows.
    Stop,
    /// A word of a later revision: ignored.
    #[serde(other)]
    Unknown,
}

/// What a process shall be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// Its tag, with which the session ids that it issues begin.
    pub tag: String,
    /// Where the workers of this program meet.
    pub mesh_dir: PathBuf,
    /// Where the Unix sockets of listens lie.
    pub http_dir: PathBuf,
}

impl ToParent {
    /// Reads a line without its end.
    #[must_use]
    pub fn decode(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Writes the line, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

impl ToWorker {
    /// Reads a line without its end.
    #[must_use]
    pub fn decode(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
    }

    /// Writes the line, its end included.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }
}

fn encode(word: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(word).expect("plain structs with UTF-8 paths become JSON");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_worker_read_as_the_specification_writes_them() {
        let listen = |host: Option<&str>, protocol| Listen {
            id: 1,
            host: host.map(|h| h.parse().unwrap()),
            port: 3000,
            protocol,
        };
        for (line, expected) in [
            (
                r#"{"type":"hello","version":1,"pid":4711,"instance":2}"#,
                Some(ToParent::Hello(Hello { version: 1, pid: 4711, instance: 2 })),
            ),
            (
                r#"{"type":"listen","id":1,"host":null,"port":3000,"protocol":"http"}"#,
                Some(ToParent::Listen(listen(None, Protocol::Http))),
            ),
            (
                r#"{"type":"listen","id":1,"host":"::1","port":3000}"#,
                Some(ToParent::Listen(listen(Some("::1"), Protocol::Http))),
            ),
            (
                r#"{"type":"listen","id":1,"port":3000,"protocol":"tcp","x":1}"#,
                Some(ToParent::Listen(listen(None, Protocol::Tcp))),
            ),
            (
                r#"{"type":"ready","id":1,"sids":"learnt"}"#,
                Some(ToParent::Ready { id: 1, sids: Sids::Learnt }),
            ),
            (r#"{"type":"load","sessions":7}"#, Some(ToParent::Load { sessions: 7, arrived: None })),
            (
                r#"{"type":"load","sessions":7,"arrived":9}"#,
                Some(ToParent::Load { sessions: 7, arrived: Some(9) }),
            ),
            (r#"{"type":"closed","id":1}"#, Some(ToParent::Closed { id: 1 })),
            (r#"{"type":"unfit","reason":"r"}"#, Some(ToParent::Unfit { reason: "r".into() })),
            (r#"{"type":"sneeze","loud":true}"#, Some(ToParent::Unknown)),
            (r#"{"type":"listen","id":1,"host":"localhost","port":3000}"#, None),
            (r#"{"type":"listen","id":1,"port":70000}"#, None),
            (r#"{"type":"ready","id":1}"#, None),
            (r#"{"type":"load","sessions":-1}"#, None),
            (r#"{"id":1}"#, None),
            ("[]", None),
            ("", None),
            ("{", None),
        ] {
            assert_eq!(ToParent::decode(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn the_words_of_a_parent_are_written_as_the_specification_says() {
        let assign = Assign { tag: "Ab3dE_".into(), mesh_dir: "/r/mesh".into(), http_dir: "/r/http".into() };
        for (word, line) in [
            (
                ToWorker::Assign(assign),
                r#"{"type":"assign","tag":"Ab3dE_","mesh_dir":"/r/mesh","http_dir":"/r/http"}"#,
            ),
            (
                ToWorker::Listening { id: 1, path: "/r/http/Ab3dE_.sock".into() },
                r#"{"type":"listening","id":1,"path":"/r/http/Ab3dE_.sock"}"#,
            ),
            (
                ToWorker::Refuse { id: 2, code: Some("EADDRINUSE".into()), reason: "taken".into() },
                r#"{"type":"refuse","id":2,"code":"EADDRINUSE","reason":"taken"}"#,
            ),
            (ToWorker::Alone { id: 3 }, r#"{"type":"alone","id":3}"#),
            (ToWorker::Drain { ms: 30_000 }, r#"{"type":"drain","ms":30000}"#),
            (ToWorker::Stop, r#"{"type":"stop"}"#),
        ] {
            assert_eq!(String::from_utf8(word.encode()).unwrap(), format!("{line}\n"));
            assert_eq!(ToWorker::decode(line.as_bytes()), Some(word));
        }
    }
}
