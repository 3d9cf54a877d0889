//! What is said to one room comes to servers that listen for it.

use sockeye_cluster::Selector;

use super::messages::three;
use crate::backend::Backend;
use crate::samples::{event, event_to, text_of};
use crate::server::{Server, fresh_nsp, patient};

/// Also to the room of a socket's id, and to several rooms at once.
pub(crate) async fn heard(backend: &dyn Backend) {
    let (a, [b, c]) = three(backend, &fresh_nsp()).await;
    let id = "Ab3dE_00000000000000";
    for room in ["kitchen", id, "7"] {
        let listening = patient("a room to be listened to", b.channel.listen(room.into())).await;
        listening.unwrap_or_else(|error| panic!("expected to listen for {room:?}: {error}"));
        a.publish(vec![event_to(Selector::to(room), room)]).await;
        assert_eq!(next(&b).await, room, "expected it right after `listen` has ended");
    }
    a.publish(vec![
        event_to(Selector::to("kitchen").and_except("cook"), "but the cook"),
        event_to(Selector::to("kitchen").and_to("attic"), "two rooms"),
    ])
    .await;
    // A room of its own may be another way, with an order of its own: another shard of a Redis Cluster.
    let mut both = [next(&b).await, next(&b).await];
    both.sort();
    assert_eq!(both, ["but the cook", "two rooms"]);
    patient("a room to be left", b.channel.unlisten("kitchen".into())).await;
    a.publish(vec![event_to(Selector::to("kitchen"), "nobody there"), event("all")]).await;
    let mut heard = next(&b).await;
    if !a.traits.selects_rooms {
        assert_eq!(heard, "nobody there", "expected all to hear everything");
        heard = next(&b).await;
    }
    assert_eq!(heard, "all");
    patient("a room to be listened to again", b.channel.listen("kitchen".into())).await.expect("it listens");
    a.publish(vec![event_to(Selector::to("kitchen"), "back")]).await;
    assert_eq!(next(&b).await, "back");
    if a.traits.selects_rooms {
        let mut heard = vec![next(&c).await];
        a.publish(vec![event("the end")]).await;
        while heard.last().is_none_or(|last| last != "the end") {
            heard.push(next(&c).await);
        }
        // What is said to ids may go to all.
        heard.retain(|text| text != id);
        assert_eq!(heard, ["two rooms", "all", "the end"], "expected rooms not listened to not to be heard");
    }
}

async fn next(server: &Server) -> String {
    let (envelope, _) = server.message().await;
    match text_of(&envelope.message) {
        Some(text) => text,
        None => panic!("expected an event, got {envelope:?}"),
    }
}
