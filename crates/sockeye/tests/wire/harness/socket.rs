//! A WebSocket client that sees frames and sends any, also wrong ones.

use super::{Host, WEBSOCKET, within};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::frame::{CloseFrame, Frame as RawFrame};
use tokio_tungstenite::{WebSocketStream, client_async};

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame with its code, if it has one.
    Close(Option<u16>),
    /// The stream is over.
    End,
}

/// A WebSocket, client side.
pub(crate) struct Ws(WebSocketStream<TcpStream>);

impl Ws {
    /// Opens one; the server has to agree.
    pub(crate) async fn open(host: &Host, query: &str) -> Self {
        Self::over(host.connect().await, host, query).await
    }

    /// Opens one on a stream of one's own.
    pub(crate) async fn over(stream: TcpStream, host: &Host, query: &str) -> Self {
        let url = format!("ws://{}{}", host.address, host.target(query));
        let (stream, _) = within(client_async(url, stream)).await.unwrap();
        Self(stream)
    }

    /// Opens a session and returns its `open` packet, too.
    pub(crate) async fn session(host: &Host) -> (Self, String) {
        let mut ws = Self::open(host, WEBSOCKET).await;
        let open = ws.text().await;
        (ws, open)
    }

    /// Opens a probe of a polling session and has it answered.
    pub(crate) async fn probe(host: &Host, sid: &str) -> Self {
        let mut ws = Self::open(host, &format!("{WEBSOCKET}&sid={sid}")).await;
        ws.send("2probe").await;
        assert_eq!(ws.text().await, "3probe");
        ws
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.send_message(Message::text(text)).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.send_message(Message::binary(bytes.to_vec())).await;
    }

    pub(crate) async fn ping(&mut self, payload: &'static [u8]) {
        self.send_message(Message::Ping(Bytes::from_static(payload))).await;
    }

    pub(crate) async fn close(&mut self, code: Option<u16>) {
        let frame = code.map(|code| CloseFrame { code: code.into(), reason: "".into() });
        self.send_message(Message::Close(frame)).await;
    }

    /// Sends one part of a message.
    pub(crate) async fn send_part(&mut self, data: Data, bytes: &[u8], last: bool) {
        let frame = RawFrame::message(bytes.to_vec(), OpCode::Data(data), last);
        self.send_message(Message::Frame(frame)).await;
    }

    pub(crate) async fn next(&mut self) -> Frame {
        match within(self.0.next()).await {
            Some(Ok(Message::Text(text))) => Frame::Text(text.as_str().to_owned()),
            Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes.to_vec()),
            Some(Ok(Message::Pong(bytes))) => Frame::Pong(bytes.to_vec()),
            Some(Ok(Message::Close(frame))) => Frame::Close(frame.map(|frame| frame.code.into())),
            Some(Ok(other @ (Message::Ping(_) | Message::Frame(_)))) => panic!("unexpected: {other:?}"),
            Some(Err(_)) | None => Frame::End,
        }
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.next().await {
            Frame::Text(text) => text,
            other @ (Frame::Binary(_) | Frame::Pong(_) | Frame::Close(_) | Frame::End) => {
                panic!("expected text, got {other:?}")
            }
        }
    }

    /// Skips what comes before the end, pings included, and returns how it ended. A close frame is answered.
    pub(crate) async fn ended(&mut self) -> Frame {
        let mut first = None;
        loop {
            match self.next().await {
                Frame::Text(_) | Frame::Binary(_) | Frame::Pong(_) => {}
                close @ Frame::Close(_) => first = Some(close),
                Frame::End => return first.unwrap_or(Frame::End),
            }
        }
    }

    /// The stream itself, for what a WebSocket library refuses to send.
    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }

    async fn send_message(&mut self, message: Message) {
        within(self.0.send(message)).await.unwrap();
    }
}
