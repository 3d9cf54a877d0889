//! Bytes of the contract: masked frames and requests, built beforehand; frames and answers, found in a buffer.

use std::net::SocketAddr;

use anyhow::{Context as _, bail, ensure};

/// A masked text frame, as a client sends it.
pub(crate) fn masked(payload: &str) -> Vec<u8> {
    let mut frame = header(payload.len(), 0x80);
    frame.extend_from_slice(&MASK);
    frame.extend(payload.bytes().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A text frame without a mask, as a server sends it.
pub(crate) fn plain(payload: &str) -> Vec<u8> {
    let mut frame = header(payload.len(), 0);
    frame.extend_from_slice(payload.as_bytes());
    frame
}

fn header(length: usize, masked: u8) -> Vec<u8> {
    let [.., high, low] = length.to_be_bytes();
    assert!(length <= usize::from(u16::MAX), "a frame of {length} bytes");
    if length < 126 { vec![0x81, masked | low] } else { vec![0x81, masked | 126, high, low] }
}

/// A string of this many bytes that starts with its mark, as JSON.
pub(crate) fn filled(mark: &str, bytes: usize) -> String {
    format!("\"{mark:x<bytes$}\"")
}

/// The payload of the text frame at the start of `bytes` and the frame's length; `None` when it is not whole.
pub(crate) fn text(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    ensure!(first == 0x81, "expected a text frame, got {first:#x} {second:#x}");
    let (start, length) = match (second, bytes) {
        (126, [_, _, high, low, ..]) => (4, usize::from(u16::from_be_bytes([*high, *low]))),
        (126, _) => return Ok(None),
        (0..126, _) => (2, usize::from(second)),
        _ => bail!("a frame longer than anything that was sent"),
    };
    Ok(bytes.get(start..start + length).map(|payload| (payload, start + length)))
}

/// The body of the answer at the start of `bytes` and the answer's length; `None` when it is not whole.
pub(crate) fn answer(bytes: &[u8]) -> anyhow::Result<Option<(&[u8], usize)>> {
    let Some(head_end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let (head, rest) = bytes.split_at(head_end + 4);
    ensure!(head.starts_with(b"HTTP/1.1 200"), "expected 200, got {}", String::from_utf8_lossy(bytes));
    let length: usize = content_length(head).context("an answer without Content-Length")?;
    Ok(rest.get(..length).map(|body| (body, head.len() + length)))
}

/// Where the answer with this status ends that stands at the start of `bytes`; `None` when it is not whole.
pub(crate) fn refusal(bytes: &[u8], status: &str) -> anyhow::Result<Option<usize>> {
    let Some(head_end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let found = bytes.get(9..12) == Some(status.as_bytes());
    ensure!(found, "expected {status}, got {}", String::from_utf8_lossy(bytes));
    let end = head_end + 4 + content_length(&bytes[..head_end + 4]).unwrap_or(0);
    Ok((bytes.len() >= end).then_some(end))
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    memchr::memchr_iter(b'\n', head).find_map(|at| {
        let line = &head[at + 1..];
        let value = line.get(..NAME.len())?.eq_ignore_ascii_case(NAME).then(|| &line[NAME.len()..])?;
        std::str::from_utf8(&value[..memchr::memchr(b'\r', value)?]).ok()?.trim().parse().ok()
    })
}

/// Where the frames start after the answer that made a WebSocket of the connection; `None` when it is not whole.
pub(crate) fn switched(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head_end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    ensure!(bytes.starts_with(b"HTTP/1.1 101"), "expected 101, got {}", String::from_utf8_lossy(bytes));
    let head = &bytes[..head_end];
    ensure!(memchr::memmem::find(head, ACCEPT).is_some(), "the Sec-WebSocket-Accept is wrong");
    Ok(Some(head_end + 4))
}

/// The sid in an open packet.
pub(crate) fn sid(open: &[u8]) -> anyhow::Result<&str> {
    let text = std::str::from_utf8(open)?;
    let rest =
        text.strip_prefix("0{\"sid\":\"").with_context(|| format!("expected an open packet, got {text}"))?;
    Ok(&rest[..rest.find('"').context("a sid without end")?])
}

/// Checks the answer to `40`.
pub(crate) fn joined(packet: &[u8]) -> anyhow::Result<()> {
    let whole = packet.starts_with(b"40{\"sid\":\"") && packet.ends_with(b"}");
    ensure!(whole, "expected 40 with a sid, got {}", String::from_utf8_lossy(packet));
    Ok(())
}

/// The packets of a payload without its heartbeats, and whether there was one.
pub(crate) fn packets(body: &[u8]) -> (Vec<&[u8]>, bool) {
    let all = || body.split(|&byte| byte == SEPARATOR);
    (all().filter(|packet| *packet != PING).collect(), all().any(|packet| packet == PING))
}

/// The request that opens a WebSocket, with a sid to upgrade a session.
pub(crate) fn upgrade(to: SocketAddr, sid: Option<&str>) -> String {
    let sid = sid.map_or_else(String::new, |sid| format!("&sid={sid}"));
    format!(
        "GET {PATH}&transport=websocket{sid} HTTP/1.1\r\nHost: {to}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A poll, or without a sid a handshake.
pub(crate) fn get(to: SocketAddr, sid: Option<&str>) -> String {
    let sid = sid.map_or_else(String::new, |sid| format!("&sid={sid}"));
    format!("GET {PATH}&transport=polling{sid} HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// A request for what each server has.
pub(crate) fn page(to: SocketAddr) -> String {
    format!("GET /health HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// A request for what is not there.
pub(crate) fn elsewhere(to: SocketAddr) -> String {
    format!("GET /nothing/is/here HTTP/1.1\r\nHost: {to}\r\n\r\n")
}

/// A payload to a polling session.
pub(crate) fn post(to: SocketAddr, sid: &str, body: &str) -> String {
    format!(
        "POST {PATH}&transport=polling&sid={sid} HTTP/1.1\r\nHost: {to}\r\nContent-Type: text/plain;charset=UTF-8\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A server's heartbeat; some send the first at once.
pub(crate) const PING: &[u8] = b"2";
/// Between packets of one payload.
const SEPARATOR: u8 = 0x1e;
/// A client's mask has to be unmasked, so it is not zero.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const PATH: &str = "/socket.io/?EIO=4";
/// RFC 6455 §1.3, for the key in [`upgrade`].
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[cfg(test)]
mod tests {
    use super::{answer, filled, masked, plain, sid, text};

    #[test]
    fn frames_carry_their_length() {
        assert_eq!(masked("40"), [0x81, 0x82, 0x37, 0xfa, 0x21, 0x3d, b'4' ^ 0x37, b'0' ^ 0xfa]);
        let long = "x".repeat(300);
        let frame = plain(&long);
        assert_eq!(text(&frame).unwrap(), Some((long.as_bytes(), 304)));
        assert_eq!(text(&frame[..303]).unwrap(), None);
        assert!(text(&[0x88, 0]).is_err());
    }

    #[test]
    fn a_filled_string_has_its_length_and_quotes() {
        assert_eq!(filled("c1-", 8), "\"c1-xxxxx\"");
    }

    #[test]
    fn answers_are_found_whole_or_not_at_all() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP";
        assert_eq!(answer(whole).unwrap(), Some((&b"ok"[..], whole.len() - 4)));
        assert_eq!(answer(&whole[..whole.len() - 5]).unwrap(), None);
        assert!(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").is_err());
    }

    #[test]
    fn the_sid_is_read_from_the_open_packet() {
        assert_eq!(sid(br#"0{"sid":"abc","upgrades":[]}"#).unwrap(), "abc");
        assert!(sid(b"44{}").is_err());
    }
}
