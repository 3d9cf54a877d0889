//! Session ids in logs.

use sockeye_proto::sid::{Sid, Tag};
use std::fmt;

/// A session's id as it may be logged. Whoever knows all of it can speak as the client, so only the node's tag and four more
/// characters are shown: enough to find the lines of one session, and 60 bits short of the secret.
pub(crate) struct Redacted(pub(crate) Sid);

const SHOWN: usize = Tag::LEN + 4;

impl fmt::Display for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.as_str()[..SHOWN])?;
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_shows_ten_characters_of_twenty() {
        let sid = Sid::new(Tag::from_bits(7), 99);
        assert_eq!(Redacted(sid).to_string(), format!("{}…", &sid.as_str()[..10]));
    }
}
