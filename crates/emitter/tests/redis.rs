//! A server in Node.js with the official adapters hears what a program in Rust says, and does not count it.

#[path = "../../redis/tests/harness/mod.rs"]
mod harness;

use bytes::Bytes;
use harness::RedisServer;
use harness::node::Node;
use serde_json::{Value, json};
use sockeye_emitter::{Emitter, Unsaid};
use sockeye_redis::Address;

#[tokio::test]
async fn official_servers_hear_and_obey_it() {
    let rows = [
        ("redis", "", "classic"),
        ("redis+sharded", "", "sharded-dynamic"),
        ("redis+sharded", "?mode=static", "sharded-static"),
        ("redis+streams", "", "streams"),
    ];
    for (scheme, query, kind) in rows {
        let Some(redis) = RedisServer::start(&[]) else { return };
        let Some(mut node) = Node::start(redis.port, kind).await else { return };
        let emitter = emitter(&redis, scheme, query).await;
        emitter.emit("nothing", ()).await.expect("it is said");
        assert_eq!(heard(&mut node).await, json!(["nothing"]));
        emitter
            .to("kitchen")
            .except("attic")
            .compress(false)
            .emit("two", (1, "é"))
            .await
            .expect("it is said");
        assert_eq!(heard(&mut node).await, json!(["two", 1, "é"]));
        emitter.except("kitchen").emit("not for it", ()).await.expect("it is said");
        emitter
            .to("attic")
            .to("kitchen")
            .emit("file", Bytes::from_static(b"\x00\xff"))
            .await
            .expect("it is said");
        assert_eq!(heard(&mut node).await, json!(["file", {"$bin": "00ff"}]));
        emitter.server_side_emit("told", json!({"a": 1})).await.expect("it is said");
        assert_eq!(node.until("told").await["told"], json!(["told", {"a": 1}]));

        // Alone in the cluster: a question is answered at once.
        emitter.all().sockets_join(["attic", "roof"]).await.expect("it is said");
        emitter.to("attic").sockets_leave(["roof"]).await.expect("it is said");
        loop {
            node.order(json!({"do": "fetch", "rooms": ["attic"]})).await;
            let sockets = node.until("sockets").await["sockets"].clone();
            let rooms = sockets[0]["rooms"].as_array().cloned().unwrap_or_default();
            if rooms.contains(&json!("attic")) && !rooms.contains(&json!("roof")) {
                break;
            }
        }
        emitter.to("attic").disconnect_sockets(true).await.expect("it is said");
        node.until("disconnected").await;
        assert_eq!(emitter.stats().published, 8, "{kind}");
    }
}

#[tokio::test]
async fn another_namespace_has_channels_of_its_own() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let emitter = emitter(&redis, "redis", "").await;
    for name in ["admin", "/admin"] {
        let admin = emitter.of(name).await.expect("redis is there");
        assert!(format!("{admin:?}").contains("nsp: \"/admin\""), "{admin:?}");
        admin.emit("hello", ()).await.expect("it is said");
    }
    assert_eq!(redis.cli(&["pubsub", "channels"]).trim(), "", "it subscribes to nothing");
}

#[tokio::test]
async fn what_cannot_be_said_is_told() {
    let Some(redis) = RedisServer::start(&[]) else { return };
    let emitter = emitter(&redis, "redis", "").await;
    for name in ["connect", "disconnect"] {
        assert!(matches!(emitter.emit(name, ()).await, Err(Unsaid::Event(_))), "{name}");
    }
    redis.kill();
    assert!(matches!(emitter.emit("hello", ()).await, Err(Unsaid::Backplane(_))));
    redis.start_again();
    // The pause after a failed attempt is short.
    while emitter.emit("hello", ()).await.is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

async fn emitter(redis: &RedisServer, scheme: &str, query: &str) -> Emitter {
    let address: Address = format!("{scheme}://127.0.0.1:{}{query}", redis.port).parse().expect("an address");
    Emitter::new(address.into_adapter()).await.expect("redis is there")
}

/// What the client of the server in Node.js hears, without the place of an event.
async fn heard(node: &mut Node) -> Value {
    let mut words = node.until("heard").await["heard"].as_array().expect("a list").clone();
    words.retain(|word| !word.as_str().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())));
    words.into()
}
