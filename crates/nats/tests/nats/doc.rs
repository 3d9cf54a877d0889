//! The example of `docs/nats.md` is what this crate says and hears.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use sockeye_cluster::adapter::{Adapter, Arrival, Letter, Opening};
use sockeye_cluster::node::To;
use sockeye_cluster::wire;
use sockeye_nats::{Config, Nats};
use tokio::sync::mpsc;

use crate::server::Server;

const DOC: &str = include_str!("../../../../docs/nats.md");

#[tokio::test]
async fn the_example_is_published_where_the_document_says() {
    let Some(server) = Server::start(&[]) else { return };
    let (subject, length, payload) = example();
    assert_eq!(payload.len(), length, "{payload}");
    let client = Box::pin(async_nats::connect(server.url(""))).await.expect("it connects");
    let mut heard = client.subscribe("sockeye.>").await.expect("it listens");
    client.flush().await.expect("it is sent");
    let (told, _hears) = mpsc::channel(8);
    let channel = open(&server, "a34a292dd6b7d25a", told).await;
    let message = wire::decode(&Bytes::from(payload.clone())).expect("it is an envelope").message;
    channel.publish(vec![Letter { to: To::All, message }]).await.remove(0).expect("it is published");
    let message = heard.next().await.expect("it comes");
    assert_eq!((message.subject.as_str(), &message.payload[..]), (subject.as_str(), payload.as_bytes()));
    let headers = message.headers.expect("there are some");
    assert_eq!(headers.get("Sockeye-From").expect("it is there").as_str(), "a34a292dd6b7d25a 1");
}

#[tokio::test]
async fn what_an_emitter_publishes_by_hand_is_heard() {
    let Some(server) = Server::start(&[]) else { return };
    let line = DOC.lines().find(|line| line.starts_with("nats pub ")).expect("the example is there");
    let (subject, payload) = line["nats pub ".len()..].split_once(" '").expect("a subject and a payload");
    let (told, mut hears) = mpsc::channel(8);
    let _channel = open(&server, "a34a292dd6b7d25a", told).await;
    let client = Box::pin(async_nats::connect(server.url(""))).await.expect("it connects");
    let payload = payload.trim_end_matches('\'').to_owned();
    client.publish(subject.to_owned(), payload.into()).await.expect("it is published");
    let Some(Arrival::Message { envelope, offset: None }) = hears.recv().await else { panic!("expected it") };
    assert_eq!(envelope.uid, "emitter");
}

async fn open(
    server: &Server,
    uid: &str,
    told: mpsc::Sender<Arrival>,
) -> Arc<dyn sockeye_cluster::adapter::Channel> {
    let adapter = Nats::new(Config::from_url(&server.url("")).expect("it is an address"));
    let inbox = Arc::new(move |arrival| told.try_send(arrival).expect("there is room"));
    adapter.open(Opening { nsp: "/".into(), uid: uid.into(), inbox }).await.expect("it opens")
}

/// Subject, length and payload.
fn example() -> (String, usize, String) {
    let mut lines = DOC.lines().skip_while(|line| !line.starts_with("PUB "));
    let mut words = lines.next().expect("the example is there").split(' ').skip(1);
    let subject = words.next().expect("a subject").to_owned();
    let length = words.next().and_then(|word| word.parse().ok()).expect("a length");
    (subject, length, lines.next().expect("a payload").to_owned())
}
