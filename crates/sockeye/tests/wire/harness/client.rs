//! A Socket.IO client on a WebSocket, as far as the tests need one: texts in, texts out, pings answered.

use super::{Frame, Host, Ws};
use futures_util::FutureExt;

/// A client in one or more namespaces.
pub(crate) struct Client {
    pub(crate) ws: Ws,
    /// The id of its socket in the namespace that it entered first.
    pub(crate) id: String,
    /// The private id of the session there, if it has one.
    pub(crate) pid: String,
}

impl Client {
    /// Enters `/`.
    pub(crate) async fn enter(host: &Host) -> Self {
        Self::enter_with(host, "40").await
    }

    /// A client that is in no namespace yet.
    pub(crate) fn on(ws: Ws) -> Self {
        Self { ws, id: String::new(), pid: String::new() }
    }

    /// Enters by the CONNECT packet given.
    pub(crate) async fn enter_with(host: &Host, connect: &str) -> Self {
        // Boxed: opening is much, and every test does it.
        let (ws, _) = Box::pin(Ws::session(host)).await;
        let mut client = Self::on(ws);
        client.id = client.join(connect).await;
        client
    }

    /// Enters a further namespace and returns the id of the socket there.
    pub(crate) async fn join(&mut self, connect: &str) -> String {
        self.say(connect).await;
        let answer = self.text().await;
        let (_, payload) = answer.split_once('{').unwrap_or_else(|| panic!("no CONNECT: {answer}"));
        let payload: serde_json::Value = serde_json::from_str(&format!("{{{payload}")).unwrap();
        if let Some(pid) = payload["pid"].as_str() {
            pid.clone_into(&mut self.pid);
        }
        payload["sid"].as_str().unwrap_or_else(|| panic!("no CONNECT: {answer}")).to_owned()
    }

    pub(crate) async fn say(&mut self, text: &str) {
        self.ws.send(text).await;
    }

    /// The next frame that is not a ping.
    pub(crate) async fn next(&mut self) -> Frame {
        loop {
            let frame = self.ws.next().await;
            if frame != Frame::Text("2".to_owned()) {
                return frame;
            }
            self.ws.send("3").await;
        }
    }

    /// Answers the pings that came so far; nothing else may have come.
    pub(crate) async fn answer_pings(&mut self) {
        while let Some(frame) = self.ws.next().now_or_never() {
            assert_eq!(frame, Frame::Text("2".to_owned()));
            self.ws.send("3").await;
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

    /// Asserts that these texts come next, and nothing between them.
    pub(crate) async fn hears(&mut self, texts: &[&str]) {
        for text in texts {
            assert_eq!(self.text().await, *text);
        }
    }

    /// Asserts that nothing was sent to the client: what is said now is answered first. The server must ack `mark`.
    pub(crate) async fn hears_nothing(&mut self) {
        self.say(r#"4299["mark"]"#).await;
        assert_eq!(self.text().await, "4399[]");
    }
}
