//! What is done about a client that does not take its mail.

use super::keyed::Keyed;
use super::mail::{Batch, Mail};

/// Drops from the front what may be dropped, until so many bytes are free. How many bytes, and how many messages they were.
pub(super) fn drop_oldest(mail: &mut Batch, keyed: Option<&mut Keyed>, wanted: u32) -> (u32, u64) {
    let (mut freed, mut dropped) = (0u32, 0);
    let mut goes = |cost: u32, expendable: bool| {
        let goes = expendable && freed < wanted;
        if goes {
            freed = freed.saturating_add(cost);
            dropped += 1;
        }
        goes
    };
    let mut before = Vec::new();
    mail.retain(|mail| {
        let goes = match mail {
            Mail::Packet(packet) => goes(packet.cost(), packet.is_expendable()),
            Mail::Control(_) => false,
        };
        before.push(goes);
        !goes
    });
    if let Some(keyed) = keyed {
        keyed.forget_places(|place| before[place]);
        keyed.retain(|packet| !goes(packet.cost(), packet.is_expendable()));
    }
    (freed, dropped)
}
