//! A server of ours on the PostgreSQL under test, and what came to it.

use std::sync::Arc;
use std::time::Duration;

use sockeye_cluster::adapter::{Adapter, AdapterError, Arrival, Channel, Letter, Opening, Published};
use sockeye_cluster::node::To;
use sockeye_cluster::{Envelope, Flags, Message, Nsp, Packet, Selector};
use sockeye_postgres::{Config, Postgres};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A server, and what came to it.
pub(crate) struct Peer {
    pub(crate) channel: Arc<dyn Channel>,
    arrivals: mpsc::Receiver<Arrival>,
}

impl Peer {
    pub(crate) async fn open(config: Config, nsp: &str, uid: &str) -> Result<Self, AdapterError> {
        let (heard, arrivals) = mpsc::channel(10_000);
        let inbox = Arc::new(move |arrival| heard.try_send(arrival).expect("the test reads on"));
        let opening = Opening { nsp: Nsp::new(nsp), uid: uid.into(), inbox };
        let channel = Postgres::new(config).open(opening).await?;
        Ok(Self { channel, arrivals })
    }

    /// A server at this URL.
    pub(crate) async fn at(url: &str, nsp: &str, uid: &str) -> Self {
        Self::open(Config::from_url(url).unwrap(), nsp, uid).await.unwrap()
    }

    pub(crate) async fn publish(&self, messages: Vec<Message>) -> Vec<Result<Published, AdapterError>> {
        let letters = messages.into_iter().map(|message| Letter { to: To::All, message }).collect();
        self.channel.publish(letters).await
    }

    /// The next event, with its offset.
    pub(crate) async fn event(&mut self) -> (String, Option<String>) {
        loop {
            if let Arrival::Message {
                envelope: Envelope { message: Message::Broadcast { packet, .. }, .. },
                offset,
            } = self.arrival().await
            {
                return (text(&packet), offset.map(|offset| offset.0.to_string()));
            }
        }
    }

    pub(crate) async fn arrival(&mut self) -> Arrival {
        let arrival = timeout(Duration::from_secs(30), self.arrivals.recv()).await;
        arrival.expect("expected something to come").expect("the channel is open")
    }
}

/// An event for all.
pub(crate) fn event(text: &str) -> Message {
    raw(serde_json::json!([text]).to_string(), Flags::default())
}

/// One that may be dropped.
pub(crate) fn volatile(text: &str) -> Message {
    raw(serde_json::json!([text]).to_string(), Flags { volatile: true, ..Flags::default() })
}

/// An event of these bytes.
pub(crate) fn raw(data: impl Into<bytes::Bytes>, flags: Flags) -> Message {
    let packet = Packet::text(data);
    Message::Broadcast { selector: Selector::all(), flags, packet, request_id: None }
}

fn text(packet: &Packet) -> String {
    let [text]: [String; 1] = serde_json::from_slice(&packet.data).unwrap();
    text
}
