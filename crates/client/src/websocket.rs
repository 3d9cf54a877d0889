//! A WebSocket on a connection: frames out, masked, and frames in. It decides nothing.

use crate::cause::Cause;
use crate::http::{Http, Upgrade};
use crate::machine::Frame;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use sockeye_proto::ws::encoder::{close_payload, masked_frame};
use sockeye_proto::ws::{Decoder, Message, Opcode};
use std::collections::VecDeque;
use std::io;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};

/// An open WebSocket.
pub(crate) struct WebSocket {
    reader: ReadHalf<TokioIo<Upgraded>>,
    writer: WriteHalf<TokioIo<Upgraded>>,
    decoder: Decoder,
    buffer: Box<[u8]>,
    /// Frames that came and were not taken.
    frames: VecDeque<Frame>,
    /// Bytes to write.
    out: BytesMut,
    flushing: bool,
    /// Whether the driver waits to hear that all is written.
    owed: bool,
    ended: Option<(Cause, String)>,
}

/// What happens on a WebSocket.
pub(crate) enum Turn {
    /// A frame came.
    Frame(Frame),
    /// All that was given is written.
    Written,
    /// The end.
    HungUp(Cause, String),
}

impl WebSocket {
    /// Opens one; also gives the head of the reply, for its cookies.
    pub(crate) async fn dial(
        http: &Http,
        target: String,
        headers: HeaderMap,
        payload_max: usize,
    ) -> Result<(Self, HeaderMap), String> {
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        match http.upgrade(target, headers, &key).await {
            Ok(Upgrade::Switched(stream, head)) => {
                let (reader, writer) = tokio::io::split(stream);
                let socket = Self {
                    reader,
                    writer,
                    decoder: Decoder::client(payload_max),
                    buffer: vec![0; BUFFER_BYTES].into(),
                    frames: VecDeque::new(),
                    out: BytesMut::new(),
                    flushing: false,
                    owed: false,
                    ended: None,
                };
                Ok((socket, head))
            }
            Ok(Upgrade::Refused(reply)) => Err(format!("expected a WebSocket, got {}", reply.summary())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes frames to write; [`Turn::Written`] follows.
    pub(crate) fn queue(&mut self, frames: Vec<Frame>) {
        for frame in frames {
            match frame {
                Frame::Text(text) => self.put(Opcode::Text, text.as_bytes()),
                Frame::Binary(bytes) => self.put(Opcode::Binary, &bytes),
            }
        }
        self.owed = true;
    }

    /// Takes a close frame to write.
    pub(crate) fn farewell(&mut self) {
        self.put(Opcode::Close, &close_payload(NORMAL, ""));
    }

    /// Bytes that are not written.
    pub(crate) fn unwritten(&self) -> usize {
        self.out.len()
    }

    /// Waits for what is next.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(crate) async fn turn(&mut self) -> Turn {
        loop {
            if let Some(frame) = self.frames.pop_front() {
                return Turn::Frame(frame);
            }
            if let Some((cause, detail)) = self.ended.take() {
                return Turn::HungUp(cause, detail);
            }
            if self.owed && self.out.is_empty() && !self.flushing {
                self.owed = false;
                return Turn::Written;
            }
            tokio::select! {
                biased;
                done = push(&mut self.writer, &mut self.out), if !self.out.is_empty() || self.flushing => match done {
                    Ok(flushed) => self.flushing = !flushed,
                    Err(error) => self.broken(&error.to_string()),
                },
                done = self.reader.read(&mut self.buffer) => self.take(done),
            }
        }
    }

    fn take(&mut self, done: io::Result<usize>) {
        let count = match done {
            Ok(0) => {
                self.ended =
                    Some((Cause::TransportClose, "the connection was closed without a goodbye".to_owned()));
                return;
            }
            Ok(count) => count,
            Err(error) => return self.broken(&error.to_string()),
        };
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut input = &mut buffer[..count];
        let mut answers = Vec::new();
        loop {
            match self.decoder.decode(&mut input) {
                Ok(None) => break,
                Ok(Some(Message::Text(text))) => self.frames.push_back(Frame::Text(text.to_owned())),
                Ok(Some(Message::Binary(bytes))) => {
                    self.frames.push_back(Frame::Binary(Bytes::copy_from_slice(bytes)));
                }
                Ok(Some(Message::Ping(bytes))) => answers.push((Opcode::Pong, bytes.to_vec())),
                Ok(Some(Message::Pong(_))) => {}
                Ok(Some(Message::Close(close))) => {
                    let detail = close.map_or("closed by the server".to_owned(), |(code, reason)| {
                        format!("closed by the server with code {code} {reason}").trim_end().to_owned()
                    });
                    self.ended = Some((Cause::TransportClose, detail));
                }
                Err(error) => {
                    answers.push((Opcode::Close, close_payload(error.close_code(), "")));
                    self.ended = Some((Cause::TransportError, error.to_string()));
                    break;
                }
            }
        }
        self.buffer = buffer;
        for (opcode, payload) in answers {
            self.put(opcode, &payload);
        }
    }

    fn put(&mut self, opcode: Opcode, payload: &[u8]) {
        // RFC 6455 §5.3: a fresh key for each frame.
        self.out.extend_from_slice(&masked_frame(opcode, payload, rand::random()));
    }

    fn broken(&mut self, detail: &str) {
        self.out.clear();
        self.flushing = false;
        self.ended.get_or_insert((Cause::TransportError, detail.to_owned()));
    }
}

/// Writes some bytes, or flushes where all are written: whether it did that.
async fn push(writer: &mut WriteHalf<TokioIo<Upgraded>>, out: &mut BytesMut) -> io::Result<bool> {
    if out.is_empty() {
        writer.flush().await?;
        return Ok(true);
    }
    match writer.write_buf(out).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        _ => Ok(false),
    }
}

const BUFFER_BYTES: usize = 16 << 10;
/// RFC 6455 §7.4.1: the purpose is fulfilled.
const NORMAL: u16 = 1000;
