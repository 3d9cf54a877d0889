//! What is published comes to others, whole and in order.

use sockeye_cluster::adapter::{Letter, Presence};
use sockeye_cluster::node::To;
use sockeye_cluster::{Message, Nsp};

use crate::backend::Backend;
use crate::samples::{event, plain, questions, replies, text_of};
use crate::server::{Server, fresh_nsp, patient};

/// In batches of all sizes, to two servers.
pub(crate) async fn in_order(backend: &dyn Backend) {
    const COUNT: usize = 210;
    let (a, others) = three(backend, &fresh_nsp()).await;
    let mut sent = 0;
    for size in (1..).take_while(|size| size * (size + 1) / 2 <= COUNT) {
        a.publish((sent..sent + size).map(|n| event(&n.to_string())).collect()).await;
        sent += size;
    }
    for server in &others {
        for n in 0..sent {
            let (envelope, _) = server.message().await;
            assert_eq!(text_of(&envelope.message), Some(n.to_string()), "expected the order of the sender");
            assert_eq!(envelope.uid, a.uid, "expected the sender's uid");
        }
    }
    assert!(a.channel.stats().published >= sent as u64, "expected what was published to be counted");
    assert!(others[0].channel.stats().received >= sent as u64, "expected what came in to be counted");
}

/// With text of all kinds, binary parts, several rooms.
pub(crate) async fn every_kind(backend: &dyn Backend) {
    let nsp = fresh_nsp();
    let (a, [b, _c]) = three(backend, &nsp).await;
    let mut sent = questions();
    if let Presence::Heartbeats { .. } = a.traits.presence {
        sent.extend([Message::InitialHeartbeat, Message::Heartbeat, Message::AdapterClose]);
    }
    // What is said to one room comes to those who listen for it.
    patient("a room to be listened to", b.channel.listen("kitchen".into())).await.expect("it listens");
    a.publish(sent.clone()).await;
    // The order of the sender holds within what goes one way: an adapter may have several.
    let mut sent: Vec<_> = sent.into_iter().map(plain).collect();
    while !sent.is_empty() {
        let (envelope, _) = b.message().await;
        assert_eq!((&envelope.uid, &envelope.nsp), (&a.uid, &nsp));
        let heard = plain(envelope.message);
        match sent.iter().position(|message| *message == heard) {
            Some(at) => drop(sent.remove(at)),
            None => panic!("expected one of {sent:#?}\ngot {heard:#?}"),
        }
    }
}

/// It may come to others, too, where the backplane cannot address one.
pub(crate) async fn to_one(backend: &dyn Backend) {
    let (a, [b, _c]) = three(backend, &fresh_nsp()).await;
    let letters = |messages: Vec<Message>| -> Vec<Letter> {
        let to = To::One(a.uid.clone());
        messages.into_iter().map(|message| Letter { to: to.clone(), message }).collect()
    };
    for result in patient("results", b.channel.publish(letters(replies()))).await {
        if let Err(error) = result {
            panic!("expected a reply to be published: {error}");
        }
    }
    let mut sent: Vec<_> = replies().into_iter().map(plain).collect();
    while !sent.is_empty() {
        let (envelope, _) = a.message().await;
        assert!(
            envelope.uid == b.uid || envelope.uid.is_nameless(),
            "expected the uid of whoever replies, or none, got {:?}",
            envelope.uid
        );
        let heard = plain(envelope.message);
        match sent.iter().position(|message| *message == heard) {
            Some(at) => drop(sent.remove(at)),
            None => panic!("expected one of {sent:#?}\ngot {heard:#?}"),
        }
    }
}

/// Longer than what any backplane takes in one piece without care (8000 bytes in Postgres).
pub(crate) async fn large(backend: &dyn Backend) {
    let (a, [b, _c]) = three(backend, &fresh_nsp()).await;
    let long = "0123456789".repeat(30_000);
    a.publish(vec![event("short"), event(&long), event("short again")]).await;
    for text in ["short", &long, "short again"] {
        let (envelope, _) = b.message().await;
        assert!(text_of(&envelope.message).as_deref() == Some(text), "expected them whole, and in order");
    }
}

/// Also where the name of one begins like that of another.
pub(crate) async fn apart(backend: &dyn Backend) {
    let short = fresh_nsp();
    let long = Nsp::new(&format!("{short}/more"));
    let (a, [b, _c]) = three(backend, &short).await;
    let elsewhere = Server::open(backend, &long).await;
    let also_there = Server::open(backend, &long).await;
    elsewhere.publish(vec![event("there")]).await;
    a.publish(vec![event("here")]).await;
    let (here, _) = b.message().await;
    assert_eq!((text_of(&here.message).as_deref(), &here.nsp), (Some("here"), &short));
    let (there, _) = also_there.message().await;
    assert_eq!((text_of(&there.message).as_deref(), &there.nsp), (Some("there"), &long));
}

/// One that speaks and two that hear.
pub(crate) async fn three(backend: &dyn Backend, nsp: &Nsp) -> (Server, [Server; 2]) {
    let a = Server::open(backend, nsp).await;
    (a, [Server::open(backend, nsp).await, Server::open(backend, nsp).await])
}
