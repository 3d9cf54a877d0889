//! The options of a message as they are written in JSON.

use std::time::Duration;

use serde::Deserialize;

use crate::name::Room;
use crate::selector::{Flags, Selector};

/// Whom a message is for and how it is to be treated, as it is written.
#[derive(Deserialize)]
pub(crate) struct WireOpts {
    rooms: Option<Vec<Room>>,
    except: Option<Vec<Room>>,
    flags: Option<WireFlags>,
}

impl WireOpts {
    /// What is not said is empty.
    pub(super) fn read(self) -> (Selector, Flags) {
        let selector =
            Selector { rooms: self.rooms.unwrap_or_default(), except: self.except.unwrap_or_default() };
        (selector, self.flags.unwrap_or_default().into())
    }
}

/// Every flag may be null: that is what `undefined` becomes on its way through msgpack.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireFlags {
    volatile: Option<bool>,
    compress: Option<bool>,
    local: Option<bool>,
    broadcast: Option<bool>,
    timeout: Option<f64>,
    expect_single_response: Option<bool>,
    coalesce: Option<String>,
    at: Option<String>,
}

impl From<WireFlags> for Flags {
    fn from(wire: WireFlags) -> Self {
        Self {
            volatile: wire.volatile.unwrap_or(false),
            compress: wire.compress,
            local: wire.local.unwrap_or(false),
            broadcast: wire.broadcast.unwrap_or(false),
            timeout: wire.timeout.and_then(whole_milliseconds),
            expect_single_response: wire.expect_single_response.unwrap_or(false),
            coalesce: wire.coalesce.map(Into::into),
            // What is no place is not remembered, and is delivered all the same.
            at: wire.at.and_then(|at| at.parse().ok()),
        }
    }
}

/// A time as JavaScript's timers take it: parts of a millisecond are dropped.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is not negative, and saturates"
)]
fn whole_milliseconds(ms: f64) -> Option<Duration> {
    (ms >= 0.0).then(|| Duration::from_millis(ms as u64))
}
