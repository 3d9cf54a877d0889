//! What servers say to each other of who is where: the argument of a server-side event, JSON.
//!
//! Keys that are not known are ignored.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::seat::{Data, Key, Seat};
use crate::name::{Room, Uid};

/// One thing that a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Say {
    /// The name of this run of the server.
    pub from: Arc<str>,
    /// How it signs.
    pub uid: Uid,
    /// What it says.
    pub kind: Kind,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is there, and has said so many changes.
    Here {
        /// How many.
        version: u64,
    },
    /// Another is to say all that it has.
    Ask {
        /// Its name.
        of: Arc<str>,
    },
    /// Something has changed.
    Changed {
        /// The count before.
        before: u64,
        /// The count after.
        version: u64,
        /// Who came, or is shown otherwise.
        present: Vec<Seat>,
        /// Who left.
        absent: Vec<(Room, Arc<str>)>,
    },
    /// All that there is, in parts.
    All {
        /// The count that it stands for.
        version: u64,
        /// Which part, from 0.
        part: u64,
        /// Whether it is the last one.
        last: bool,
        /// Who is there.
        present: Vec<Seat>,
    },
    /// The server is gone.
    Gone,
}

impl Say {
    /// Reads what somebody said; `None`: it is not understood.
    pub fn read(json: &[u8]) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_slice(json).ok()?;
        let present = || {
            let seat = |(room, id, data): &(String, String, Option<&RawValue>)| Seat {
                room: Room::new(room),
                id: id.as_str().into(),
                data: data.map(|data| data.get().into()),
            };
            wire.present.iter().map(seat).collect()
        };
        let kind = match &*wire.say {
            "here" => Kind::Here { version: wire.version? },
            "ask" => Kind::Ask { of: wire.of?.into() },
            "changed" => Kind::Changed {
                before: wire.before?,
                version: wire.version?,
                present: present(),
                absent: wire.absent.iter().map(|(room, id)| (Room::new(room), id.as_str().into())).collect(),
            },
            "all" => {
                Kind::All { version: wire.version?, part: wire.part?, last: wire.last, present: present() }
            }
            "gone" => Kind::Gone,
            _ => return None,
        };
        Some(Self { from: wire.from.into(), uid: Uid::from(wire.uid), kind })
    }

    /// Writes it.
    pub fn json(&self) -> String {
        let mut wire = Wire { from: self.from.to_string(), uid: self.uid.to_string(), ..Wire::default() };
        match &self.kind {
            Kind::Here { version } => {
                wire.say = "here".into();
                wire.version = Some(*version);
            }
            Kind::Ask { of } => {
                wire.say = "ask".into();
                wire.of = Some(of.to_string());
            }
            Kind::Changed { before, version, present, absent } => {
                wire.say = "changed".into();
                (wire.before, wire.version) = (Some(*before), Some(*version));
                wire.present = seats(present);
                wire.absent =
                    absent.iter().map(|(room, id): &Key| (room.to_string(), id.to_string())).collect();
            }
            Kind::All { version, part, last, present } => {
                wire.say = "all".into();
                (wire.version, wire.part, wire.last) = (Some(*version), Some(*part), *last);
                wire.present = seats(present);
            }
            Kind::Gone => wire.say = "gone".into(),
        }
        serde_json::to_string(&wire).expect("text, numbers and JSON are JSON")
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Wire<'a> {
    say: String,
    from: String,
    uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    part: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    last: bool,
    #[serde(default, borrow, skip_serializing_if = "Vec::is_empty")]
    present: Vec<(String, String, Option<&'a RawValue>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    absent: Vec<(String, String)>,
}

fn seats(seats: &[Seat]) -> Vec<(String, String, Option<&RawValue>)> {
    seats.iter().map(|seat| (seat.room.to_string(), seat.id.to_string(), raw(&seat.data))).collect()
}

/// What is no JSON is shown as nothing.
fn raw(data: &Data) -> Option<&RawValue> {
    serde_json::from_str(data.as_deref()?).ok()
}
