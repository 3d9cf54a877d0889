//! What a worker on a plain link says, held against the rules: bytes in, events out. Pure.

use std::collections::BTreeSet;

use super::message::{Hello, LINE_BYTES_MAX, Listen, Sids, ToParent, VERSION};

/// How many listens a process may have at a time; one more ends the link.
pub const LISTENS_MAX: usize = 64;

/// What a worker said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Who it is; always the first.
    Hello(Hello),
    /// It wants a public address; answer with [`Worker::listening`](super::Worker::listening) or
    /// [`Worker::refuse`](super::Worker::refuse).
    Listen(Listen),
    /// The Unix socket of a listen takes connections. Comes again when `sids` changes.
    Ready {
        /// Which listen.
        id: u32,
        /// How its clients can be told apart.
        sids: Sids,
    },
    /// How many Engine.IO sessions live in it.
    Load {
        /// At this moment.
        sessions: u32,
        /// How many ever began, where it counts them.
        arrived: Option<u64>,
    },
    /// A listen is over.
    Closed {
        /// Which listen.
        id: u32,
    },
    /// The program cannot run several times behind one address: it should run once, by itself.
    Unfit {
        /// Why, for people.
        reason: String,
    },
}

/// How a worker broke the rules: the link ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaved {
    /// A line never ended.
    #[error("expected a line of at most {LINE_BYTES_MAX} bytes")]
    LineTooLong,
    /// A line is no word.
    #[error("expected a word as JSON, got {0:?}")]
    NoWord(String),
    /// Another version.
    #[error("expected version {VERSION}, got {0}")]
    Version(u32),
    /// Hello is missing, or came twice.
    #[error("expected one hello, as the first word")]
    Hello,
    /// An id that is not higher than those before, a port 0, or too many at a time.
    #[error("expected a higher id, a port above 0 and at most {LISTENS_MAX} listens, got listen {0}")]
    Listen(u32),
    /// A listen that is not there.
    #[error("expected the id of a listen, got {0}")]
    NoListen(u32),
}

/// The receiving end of a parent.
#[derive(Debug, Default)]
pub struct Inbox {
    line: Vec<u8>,
    heard: bool,
    last: u32,
    listens: BTreeSet<u32>,
}

impl Inbox {
    /// Takes bytes up to the end of the first line in them, and says what that line is. Call it until `bytes` is empty;
    /// after an error not again.
    ///
    /// # Errors
    /// The worker broke the rules.
    pub fn decode(&mut self, bytes: &mut &[u8]) -> Result<Option<Event>, Misbehaved> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (rest_of_line, rest) = (&bytes[..end], &bytes[end + 1..]);
            self.extend(rest_of_line)?;
            *bytes = rest;
            let line = std::mem::take(&mut self.line);
            let word = ToParent::decode(&line).ok_or_else(|| no_word(&line))?;
            if let Some(event) = self.take(word)? {
                return Ok(Some(event));
            }
        }
        self.extend(bytes)?;
        *bytes = &[];
        Ok(None)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), Misbehaved> {
        if self.line.len() + bytes.len() > LINE_BYTES_MAX {
            return Err(Misbehaved::LineTooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn take(&mut self, word: ToParent) -> Result<Option<Event>, Misbehaved> {
        if self.heard == matches!(word, ToParent::Hello(_)) {
            return Err(Misbehaved::Hello);
        }
        Ok(Some(match word {
            ToParent::Hello(hello) if hello.version != VERSION => {
                return Err(Misbehaved::Version(hello.version));
            }
            ToParent::Hello(hello) => {
                self.heard = true;
                Event::Hello(hello)
            }
            ToParent::Listen(listen) => {
                if listen.id <= self.last || listen.port == 0 || self.listens.len() == LISTENS_MAX {
                    return Err(Misbehaved::Listen(listen.id));
                }
                self.last = listen.id;
                self.listens.insert(listen.id);
                Event::Listen(listen)
            }
            ToParent::Ready { id, sids } if self.listens.contains(&id) => Event::Ready { id, sids },
            ToParent::Closed { id } if self.listens.remove(&id) => Event::Closed { id },
            ToParent::Ready { id, .. } | ToParent::Closed { id } => return Err(Misbehaved::NoListen(id)),
            ToParent::Load { sessions, arrived } => Event::Load { sessions, arrived },
            ToParent::Unfit { reason } => Event::Unfit { reason },
            ToParent::Unknown => return Ok(None),
        }))
    }
}

/// The beginning of a line, for a log.
fn no_word(line: &[u8]) -> Misbehaved {
    const SHOWN_BYTES: usize = 80;
    Misbehaved::NoWord(String::from_utf8_lossy(&line[..line.len().min(SHOWN_BYTES)]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain::Protocol;

    const HELLO: &str = r#"{"type":"hello","version":1,"pid":7,"instance":0}"#;

    #[test]
    fn a_worker_that_keeps_the_rules_is_heard() {
        let hello = Event::Hello(Hello { version: 1, pid: 7, instance: 0 });
        let listen = Event::Listen(Listen { id: 3, host: None, port: 80, protocol: Protocol::Http });
        check(HELLO, std::slice::from_ref(&hello), None);
        check(
            &format!(
                "{HELLO}\n{}\n{}\n{}\n{}\n{}\n{}",
                r#"{"type":"listen","id":3,"port":80}"#,
                r#"{"type":"ready","id":3,"sids":"tagged"}"#,
                r#"{"type":"later"}"#,
                r#"{"type":"load","sessions":2}"#,
                r#"{"type":"unfit","reason":"r"}"#,
                r#"{"type":"closed","id":3}"#
            ),
            &[
                hello,
                listen,
                Event::Ready { id: 3, sids: Sids::Tagged },
                Event::Load { sessions: 2, arrived: None },
                Event::Unfit { reason: "r".into() },
                Event::Closed { id: 3 },
            ],
            None,
        );
    }

    #[test]
    fn a_worker_that_breaks_a_rule_is_named() {
        for (line, expected) in [
            (r#"{"type":"listen","id":0,"port":80}"#, Misbehaved::Listen(0)),
            (r#"{"type":"listen","id":1,"port":0}"#, Misbehaved::Listen(1)),
            (r#"{"type":"ready","id":1,"sids":"tagged"}"#, Misbehaved::NoListen(1)),
            (r#"{"type":"closed","id":1}"#, Misbehaved::NoListen(1)),
            (HELLO, Misbehaved::Hello),
            ("", Misbehaved::NoWord(String::new())),
            ("{}", Misbehaved::NoWord("{}".into())),
        ] {
            let hello = Event::Hello(Hello { version: 1, pid: 7, instance: 0 });
            check(&format!("{HELLO}\n{line}"), &[hello], Some(expected));
        }
        check(r#"{"type":"load","sessions":2}"#, &[], Some(Misbehaved::Hello));
        check(r#"{"type":"hello","version":2,"pid":7,"instance":0}"#, &[], Some(Misbehaved::Version(2)));
        check(&"x".repeat(LINE_BYTES_MAX + 1), &[], Some(Misbehaved::LineTooLong));
    }

    #[test]
    fn a_process_has_so_many_listens_at_a_time() {
        let mut said = String::from(HELLO);
        for id in 1..=LISTENS_MAX + 1 {
            said.push_str(&format!("\n{{\"type\":\"listen\",\"id\":{id},\"port\":80}}"));
        }
        let mut inbox = Inbox::default();
        let (events, error) = hear(&mut inbox, said.as_bytes(), usize::MAX);
        assert_eq!(events.len(), LISTENS_MAX + 1);
        assert_eq!(error, None, "the last line has no end yet");
        assert_eq!(inbox.decode(&mut &b"\n"[..]), Err(Misbehaved::Listen(65)));
    }

    fn check(said: &str, events: &[Event], error: Option<Misbehaved>) {
        for size in [1, 7, usize::MAX] {
            let mut inbox = Inbox::default();
            let heard = hear(&mut inbox, format!("{said}\n").as_bytes(), size);
            assert_eq!(heard, (events.to_vec(), error.clone()), "{said} in pieces of {size}");
        }
    }

    fn hear(inbox: &mut Inbox, said: &[u8], size: usize) -> (Vec<Event>, Option<Misbehaved>) {
        let mut events = Vec::new();
        for mut piece in said.chunks(size.min(said.len())) {
            while !piece.is_empty() {
                match inbox.decode(&mut piece) {
                    Ok(event) => events.extend(event),
                    Err(error) => return (events, Some(error)),
                }
            }
        }
        (events, None)
    }
}
