//! The other end of a request: waits for the head of an answer, and carries the rest of it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use sockeye_relay::Wire;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::{Answer, Question, Rest};
use super::line::{Line, with_scratch};

/// Why no answer came.
pub(super) enum Lost {
    /// No connection: nothing was sent.
    Refused(std::io::Error),
    /// It broke off before a byte.
    Broken,
    /// What came is no answer.
    Nonsense,
    Silent,
    /// The client went away.
    Gone,
    /// Its session is to go elsewhere.
    Moved,
}

/// Waits for the head of an answer. What came behind it is put there, too, and told where it begins.
pub(super) async fn hear<'q, S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    wire: &mut Wire,
    question: impl Fn() -> Question<'q>,
) -> Result<(Answer, usize), Lost> {
    let mut head = Vec::new();
    poll_fn(|cx| {
        loop {
            let heard = with_scratch(|scratch| {
                let mut piece = ReadBuf::new(scratch);
                let read = ready!(Pin::new(&mut *wire).poll_read(cx, &mut piece));
                let piece = piece.filled();
                if read.is_err() || piece.is_empty() {
                    return Poll::Ready(Err(if head.is_empty() { Lost::Broken } else { Lost::Nonsense }));
                }
                // Mostly it is all there: then nothing is copied but what goes to the client.
                let bytes = if head.is_empty() {
                    piece
                } else {
                    head.extend_from_slice(piece);
                    &head[..]
                };
                match Answer::read(bytes, &question()) {
                    Ok(Some(mut answer)) => {
                        let body = answer.head.len();
                        answer.head.extend_from_slice(&bytes[answer.taken..]);
                        Poll::Ready(Ok(Some((answer, body))))
                    }
                    Ok(None) if bytes.len() < HEAD_BYTES_MAX => {
                        if head.is_empty() {
                            head.extend_from_slice(piece);
                        }
                        Poll::Ready(Ok(None))
                    }
                    Ok(None) | Err(_) => Poll::Ready(Err(Lost::Nonsense)),
                }
            });
            match heard {
                Poll::Ready(Ok(Some(answer))) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(lost)) => return Poll::Ready(Err(lost)),
                Poll::Pending => break,
            }
        }
        if line.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Lost::Gone));
        }
        line.poll_late(cx).map(|()| Err(Lost::Silent))
    })
    .await
}

/// Waits for more of an answer; `false` where none comes.
pub(super) async fn more<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    wire: &mut Wire,
    read: &mut Vec<u8>,
) -> bool {
    poll_fn(|cx| {
        let come = with_scratch(|scratch| {
            let mut piece = ReadBuf::new(scratch);
            let come = ready!(Pin::new(&mut *wire).poll_read(cx, &mut piece));
            read.extend_from_slice(piece.filled());
            Poll::Ready(come.is_ok() && !piece.filled().is_empty())
        });
        if come.is_pending() { line.poll_late(cx).map(|()| false) } else { come }
    })
    .await
}

/// Carries an answer to its end: what was heard, of which the body begins at some place, and the rest of it. Adds to `bytes` how much of its body went to the client. `Ok(true)`: nothing came behind it. `Err`: it broke off.
pub(super) async fn rest<S: AsyncRead + AsyncWrite + Unpin>(
    line: &mut Line<S>,
    wire: &mut Wire,
    (mut out, mut body): (Vec<u8>, usize),
    mut rest: Rest,
    bytes: &mut u64,
) -> Result<bool, ()> {
    let came = out.len() - body;
    let (taken, mut ended) = match rest {
        Rest::Known(0) => (0, true),
        Rest::Known(_) | Rest::Chunked(_) | Rest::UntilEnd => {
            rest.handle_bytes(&out[body..]).map_err(|_| ())?
        }
    };
    let mut clean = taken == came;
    out.truncate(body + taken);
    body = taken;
    loop {
        line.write(&out).await.map_err(|_| ())?;
        *bytes += body as u64;
        if ended {
            return Ok(clean);
        }
        line.look_at_clock();
        line.allow(PIECE_TIME_MAX);
        out = poll_fn(|cx| {
            let piece = with_scratch(|scratch| {
                let mut piece = ReadBuf::new(scratch);
                match ready!(Pin::new(&mut *wire).poll_read(cx, &mut piece)) {
                    Ok(()) => Poll::Ready(Ok(piece.filled().to_vec())),
                    Err(_) => Poll::Ready(Err(())),
                }
            });
            if piece.is_pending() {
                if line.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err(()));
                }
                return line.poll_late(cx).map(|()| Err(()));
            }
            piece
        })
        .await?;
        if out.is_empty() {
            // A body without a length ends so; any other broke off.
            return if rest == Rest::UntilEnd { Ok(false) } else { Err(()) };
        }
        let (taken, end) = rest.handle_bytes(&out).map_err(|_| ())?;
        (ended, clean) = (end, clean && taken == out.len());
        out.truncate(taken);
        body = taken;
    }
}

/// How long an upstream may say nothing in the middle of an answer.
const PIECE_TIME_MAX: Duration = Duration::from_secs(120);
/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
