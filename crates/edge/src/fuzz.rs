//! What must hold for any bytes that clients and servers send the edge: called by the fuzz targets. Each panics where a property does not hold.

use sockeye_proto::http::{BodyLength, Head};

use crate::swift::Teller;
use crate::swift::answer::{Answer, Chunks, NoAnswer, Question, Rest};
use crate::swift::order::{Order, Usual, parse};

/// A request that goes on means to its server what it meant here: one request of the same method, target, host and body, asking for the same, and telling of its
/// client nothing that the client said itself.
pub fn request(data: &[u8]) {
    let Some(Ok((head, length))) = parse(data) else { return };
    let Some(usual) = Usual::of(&head) else { return };
    for trusted in [false, true] {
        let teller = Teller::new(([192, 0, 2, 7], 5).into(), false, Some(80), trusted);
        let (order, taken) = Order::write((&head, length), data, usual, (&teller, &[]), trusted);
        let body = match head.body_length() {
            BodyLength::Known(body) => usize::try_from(body).unwrap_or(usize::MAX),
            BodyLength::None | BodyLength::Unknown => 0,
        };
        assert_eq!(taken + order.missing, length + body, "all of it, and no more");
        let Some(Ok((sent, sent_length))) = parse(&order.bytes) else { panic!("a head is sent") };
        assert_eq!(order.bytes[sent_length..], data[length..taken], "the body as it came");
        assert_eq!((sent.method(), sent.target()), (head.method(), head.target()));
        assert_eq!((sent.body_length(), sent.is_http11()), (head.body_length(), true));
        let values =
            |head: &Head<'_>, name: &str| -> Vec<Vec<u8>> { head.values(name).map(<[u8]>::to_vec).collect() };
        assert_eq!(values(&sent, "host"), values(&head, "host"));
        assert_eq!(sent.websocket_key(), head.websocket_key());
        assert_eq!(sent.asks_for_websocket(), order.accept.is_some());
        assert_eq!(values(&sent, "x-forwarded-for").len(), 1);
        assert_eq!(values(&sent, "x-sockeye-peer"), [b"192.0.2.7:5"]);
        assert_eq!(values(&sent, "x-sockeye-relayed"), [b"edge"]);
        let ours = sent.headers().filter(|(name, _)| name.to_ascii_lowercase().starts_with("x-sockeye-"));
        assert_eq!(ours.count(), 2);
        assert!(order.is_repeatable <= (body == 0), "what has a body is never sent twice");
        assert!(trusted || values(&sent, "x-forwarded-for") == [b"192.0.2.7"]);
    }
}

/// An answer is heard once it is whole and not before, what is sent on reads as the same, and its end is found however it is cut.
pub fn answer(data: &[u8]) {
    let Some((flags, data)) = data.split_first() else { return };
    let accept = (flags & 2 != 0).then_some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let question = Question { is_head: flags & 1 != 0, closes: flags & 4 != 0, accept };
    let Ok(Some(answer)) = Answer::read(data, &question) else { return };
    assert_eq!(
        Answer::parsed(data, &question).as_ref(),
        Ok(&Some(answer)),
        "a plain head is what a parser reads"
    );
    let Ok(Some(answer)) = Answer::read(data, &question) else { return };
    for end in 0..answer.taken.min(2048) {
        assert!(matches!(Answer::read(&data[..end], &question), Ok(None)), "cut at {end}");
    }
    assert_eq!(memchr::memmem::find(&answer.head, b"\r\n\r\n"), Some(answer.head.len() - 4), "one head");
    assert_eq!(answer.switches, answer.status == 101);
    assert!(!answer.switches || accept.is_some(), "nobody is switched who did not ask");
    let again = Answer::read(&answer.head, &question);
    let Ok(Some(again)) = again else { panic!("what is sent on is an answer: {again:?}") };
    assert_eq!((again.status, again.rest, again.switches), (answer.status, answer.rest, answer.switches));
    assert_eq!(again.taken, answer.head.len());
    assert!(again.closes >= answer.closes);
    body(answer.rest, &data[answer.taken..]);
}

/// The end of a body stands where the standard says, however it is cut.
fn body(rest: Rest, data: &[u8]) {
    let whole = in_pieces(rest, data, data.len().max(1));
    for size in [1, 2, 7] {
        assert_eq!(in_pieces(rest, data, size), whole, "in pieces of {size}");
    }
    if rest == Rest::Chunked(Chunks::default())
        && let Some(end) = chunked_end(data)
    {
        assert_eq!(whole, Ok((end, true)));
    }
}

fn in_pieces(mut rest: Rest, data: &[u8], size: usize) -> Result<(usize, bool), NoAnswer> {
    let (mut taken, mut done) = (0, rest == Rest::Known(0));
    for piece in data.chunks(size) {
        if !done {
            let (some, end) = rest.handle_bytes(piece)?;
            (taken, done) = (taken + some, end);
        }
    }
    Ok((taken, done))
}

/// RFC 9112 §7.1, read the plain way: where a chunked body without extensions and trailers ends, if it does.
fn chunked_end(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = memchr::memmem::find(&data[at..], b"\r\n")?;
        let digits = std::str::from_utf8(&data[at..at + line]).ok()?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let size = usize::from_str_radix(digits, 16).ok()?;
        at += line + 2;
        let end = at.checked_add(size)?.checked_add(2)?;
        if data.get(end - 2..end)? != b"\r\n" {
            return None;
        }
        at = end;
        if size == 0 {
            return Some(at);
        }
    }
}
