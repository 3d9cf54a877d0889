//! What a packet asks for, by its first bytes. Not a parser: a table of the patterns the contract uses.

/// One packet of the contract, borrowed from the read buffer.
#[derive(Debug, PartialEq)]
pub(crate) enum Ask<'a> {
    /// `42["echo",x]`: the same bytes go back.
    Echo,
    /// `42<id>["echo-ack",x]`: `43<id>[x]`.
    Ack { id: &'a [u8], rest: &'a [u8] },
    /// `42<id>["join","room"]`: `43<id>[]`.
    Join { id: &'a [u8], room: &'a [u8] },
    /// `42["room","room",x]`: `42["room",x]` to its members; `rest` is `x]`.
    Room { room: &'a [u8], rest: &'a [u8] },
    /// `42["broadcast",x]`: the same bytes to all.
    Broadcast,
    /// `40`
    Connect,
    /// `41`
    Disconnect,
    /// `2probe`
    Probe,
    /// `5`
    Upgrade,
    /// `1`
    Close,
    /// Anything else is passed over.
    Other,
}

/// Tells what `packet` asks for.
#[inline]
pub(crate) fn of(packet: &[u8]) -> Ask<'_> {
    if let Some(event) = packet.strip_prefix(b"42[\"") {
        return if event.starts_with(b"echo\",") {
            Ask::Echo
        } else if event.starts_with(b"broadcast\",") {
            Ask::Broadcast
        } else if let Some((room, rest)) = event.strip_prefix(b"room\",\"").and_then(quoted) {
            Ask::Room { room, rest: rest.strip_prefix(b",").unwrap_or(rest) }
        } else {
            Ask::Other
        };
    }
    match packet {
        [b'4', b'2', rest @ ..] => with_ack(rest),
        [b'4', b'0', ..] => Ask::Connect,
        [b'4', b'1', ..] => Ask::Disconnect,
        b"2probe" => Ask::Probe,
        b"5" => Ask::Upgrade,
        b"1" => Ask::Close,
        _ => Ask::Other,
    }
}

fn with_ack(packet: &[u8]) -> Ask<'_> {
    let digits = packet.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (id, event) = packet.split_at(digits);
    if let Some(rest) = event.strip_prefix(b"[\"echo-ack\",") {
        Ask::Ack { id, rest }
    } else if let Some((room, _)) = event.strip_prefix(b"[\"join\",\"").and_then(quoted) {
        Ask::Join { id, room }
    } else {
        Ask::Other
    }
}

/// Splits at the closing quote.
fn quoted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'"')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::{Ask, of};

    #[test]
    fn every_pattern_of_the_contract_is_known() {
        let rows: &[(&str, Ask<'_>)] = &[
            (r#"42["echo","x"]"#, Ask::Echo),
            (r#"42["broadcast",{"a":1}]"#, Ask::Broadcast),
            (r#"42["room","r1","x"]"#, Ask::Room { room: b"r1", rest: b"\"x\"]" }),
            (r#"4217["echo-ack","x"]"#, Ask::Ack { id: b"17", rest: b"\"x\"]" }),
            (r#"420["join","r1"]"#, Ask::Join { id: b"0", room: b"r1" }),
            ("40", Ask::Connect),
            (r#"40{"token":"x"}"#, Ask::Connect),
            ("41", Ask::Disconnect),
            ("2probe", Ask::Probe),
            ("5", Ask::Upgrade),
            ("3", Ask::Other),
            ("", Ask::Other),
            (r#"42["other","x"]"#, Ask::Other),
            (r#"42["room","r1"#, Ask::Other),
        ];
        for (packet, expected) in rows {
            assert_eq!(&of(packet.as_bytes()), expected, "{packet}");
        }
    }
}
