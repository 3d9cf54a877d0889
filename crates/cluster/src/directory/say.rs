//! What nodes say to each other, as server-side events: `["here", {…}]`, `["known", {…}]`, `["gone", {…}]`.
//!
//! Keys that are not known are ignored. An address that cannot be read counts as absent.

use serde::{Deserialize, Serialize};
use sockeye_proto::sid::Tag;

use super::entry::Entry;
use crate::message::Packet;
use crate::name::Uid;

/// One thing that a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Say {
    /// Greater than in whatever the node has said before.
    pub(super) count: u64,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// This is who I am; and who are you?
    Here { entry: Entry, settled: bool, asks: bool },
    /// I know you by what you said under this count; and this is who I am.
    Known { entry: Entry, settled: bool, to: Uid, knows: u64 },
    /// I am gone.
    Gone,
}

impl Say {
    /// Reads what somebody said; `None`: it is not understood.
    pub(super) fn read(packet: &Packet) -> Option<Self> {
        let (name, wire): (String, Wire) = serde_json::from_slice(&packet.data).ok()?;
        let count = wire.count;
        let kind = match name.as_str() {
            "here" => Kind::Here { settled: wire.settled, asks: wire.asks, entry: wire.entry()? },
            "known" => Kind::Known {
                settled: wire.settled,
                to: Uid::from(wire.to.clone()?),
                knows: wire.knows?,
                entry: wire.entry()?,
            },
            "gone" => Kind::Gone,
            _ => return None,
        };
        Some(Self { count, kind })
    }

    /// Writes it.
    pub(super) fn packet(&self) -> Packet {
        let mut wire = Wire { count: self.count, ..Wire::default() };
        let name = match &self.kind {
            Kind::Here { entry, settled, asks } => {
                (wire.settled, wire.asks) = (*settled, *asks);
                wire.put(entry);
                "here"
            }
            Kind::Known { entry, settled, to, knows } => {
                (wire.settled, wire.to, wire.knows) = (*settled, Some(to.to_string()), Some(*knows));
                wire.put(entry);
                "known"
            }
            Kind::Gone => "gone",
        };
        Packet::text(serde_json::to_vec(&(name, wire)).expect("text, numbers and flags are JSON"))
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Wire {
    count: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tag: Option<Tag>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    machine: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(default)]
    load: u32,
    #[serde(default)]
    settled: bool,
    #[serde(default)]
    asks: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    knows: Option<u64>,
}

impl Wire {
    fn put(&mut self, entry: &Entry) {
        self.tag = Some(entry.tag);
        self.machine = Some(entry.machine.to_string());
        self.unix = entry.unix.as_ref().and_then(|path| path.to_str()).map(str::to_owned);
        self.tcp = entry.tcp.map(|address| address.to_string());
        self.load = entry.load;
    }

    fn entry(self) -> Option<Entry> {
        Some(Entry {
            tag: self.tag?,
            machine: self.machine?.into(),
            unix: self.unix.filter(|path| path.starts_with('/')).map(Into::into),
            tcp: self.tcp.and_then(|address| address.parse().ok()),
            load: self.load,
        })
    }
}
