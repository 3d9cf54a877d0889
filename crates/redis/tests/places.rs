//! Ways to a Redis: passwords, databases, TLS, sentinels; and what is told when there is none, or it falls silent.

mod harness;

use std::sync::Arc;
use std::time::Duration;

use harness::RedisServer;
use harness::cluster::RedisCluster;
use harness::node::PATIENCE;
use sockeye_adapter_suite::Backend;
use sockeye_cluster::adapter::{Adapter, AdapterError, Arrival, BoxFuture, Channel, Letter, Opening};
use sockeye_cluster::node::To;
use sockeye_cluster::{Flags, Message, Packet, Selector};
use sockeye_redis::Address;
use tempfile::TempDir;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_password_and_a_database_are_used_and_a_wrong_one_is_told_without_showing_it() {
    let Some(server) = RedisServer::start(&["--requirepass", "geheim"]) else { return };
    for scheme in ["redis", "redis+sharded", "redis+streams"] {
        let wrong = open(&format!("{scheme}://:falsch@127.0.0.1:{}", server.port)).await;
        let error = wrong.err().expect("it is refused");
        assert!(matches!(error, AdapterError::Refused(_)), "{error:?}");
        assert!(!error.to_string().contains("falsch"), "{error}");
        let none = open(&format!("{scheme}://127.0.0.1:{}", server.port)).await;
        assert!(matches!(none.err(), Some(AdapterError::Refused(_))));
    }
    let (channel, _arrivals) =
        open(&format!("redis+streams://:geheim@127.0.0.1:{}/2", server.port)).await.expect("it opens");
    said(&*channel, "in the second").await.expect("it is published");
    let length = server.cli(&["-a", "geheim", "-n", "2", "xlen", "socket.io"]);
    assert_eq!(length.trim(), "1");
}

#[tokio::test]
async fn where_nobody_is_opening_fails_in_time_and_leaves_nothing() {
    let port = harness::free_port();
    for scheme in ["redis", "redis+sharded", "redis+streams", "rediss"] {
        let opened = tokio::time::timeout(PATIENCE, open(&format!("{scheme}://127.0.0.1:{port}"))).await;
        let error = opened.expect("in time").err().expect("nobody is there");
        assert!(matches!(error, AdapterError::Unreachable(_)), "{scheme}: {error:?}");
    }
}

struct Tls {
    server: RedisServer,
    dir: TempDir,
}

impl Backend for Tls {
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
        let ca = self.dir.path().join("ca.pem");
        let address = format!("rediss+streams://localhost:{}?tls_ca={}", self.server.port, ca.display());
        Box::pin(async move { address.parse::<Address>().expect("it is an address").into_adapter() })
    }
}

#[tokio::test]
async fn tls_carries_everything_and_strangers_are_not_trusted() {
    let dir = certificates();
    let file = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (cert, key, ca) = (file("cert.pem"), file("key.pem"), file("ca.pem"));
    let words = ["--port", "0", "--tls-port", "{port}", "--tls-auth-clients", "no"];
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let Some(server) = RedisServer::start(&[&words[..], &files[..]].concat()) else { return };
    let stranger = open(&format!("rediss://localhost:{}", server.port)).await;
    assert!(stranger.is_err(), "expected a certificate of nobody known to be refused");
    sockeye_adapter_suite::run(&Tls { server, dir }).await;
}

#[tokio::test]
async fn sentinels_lead_to_the_master_also_after_a_failover() {
    let Some(master) = RedisServer::start(&[]) else { return };
    let port = master.port.to_string();
    let replica = RedisServer::start(&["--replicaof", "127.0.0.1", &port]).expect("redis is installed");
    let sentinel = RedisServer::start_sentinel(master.port);
    wait_for(|| {
        let known = sentinel.cli(&["sentinel", "replicas", "mymaster"]);
        known.contains(&replica.port.to_string())
            && replica.cli(&["info", "replication"]).contains("master_link_status:up")
    })
    .await;
    for scheme in ["redis", "redis+streams"] {
        let url = format!("{scheme}://127.0.0.1:{}?sentinel=mymaster", sentinel.port);
        let (a, _) = open(&url).await.expect("it opens");
        let (_b, mut heard) = open(&url).await.expect("it opens");
        said(&*a, "before").await.expect("it is published");
        hears(&mut heard, "before").await;
    }
    let url = format!("redis+streams://127.0.0.1:{}?sentinel=mymaster", sentinel.port);
    let (a, _arrivals) = open(&url).await.expect("it opens");
    let (_b, mut heard) = open(&url).await.expect("it opens");
    master.kill();
    loop {
        let arrival =
            tokio::time::timeout(PATIENCE, heard.recv()).await.expect("in time").expect("it is open");
        if matches!(arrival, Arrival::Resumed { .. }) {
            break;
        }
    }
    until_said(&*a, "after").await;
    hears(&mut heard, "after").await;
    assert!(replica.cli(&["info", "replication"]).contains("role:master"));
}

#[tokio::test]
async fn a_redis_that_falls_silent_is_noticed_and_nobody_hangs() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let url = server.url("");
    let (a, _arrivals) = open(&url).await.expect("it opens");
    let (b, mut heard) = open(&url).await.expect("it opens");
    said(&*a, "before").await.expect("it is published");
    hears(&mut heard, "before").await;
    server.signal("STOP");
    let silent = tokio::time::timeout(PATIENCE, said(&*a, "into the void")).await.expect("it ends in time");
    assert!(matches!(silent, Err(AdapterError::Unreachable(_))), "{silent:?}");
    wait_for(|| b.stats().disconnects > 0).await;
    server.signal("CONT");
    loop {
        let arrival =
            tokio::time::timeout(PATIENCE, heard.recv()).await.expect("in time").expect("it is open");
        if arrival == (Arrival::Resumed { whole: false }) {
            break;
        }
    }
    until_said(&*a, "after").await;
    hears(&mut heard, "after").await;
    assert!(a.stats().unpublished > 0 && b.stats().gaps > 0, "{:?} {:?}", a.stats(), b.stats());
}

#[tokio::test]
async fn a_stream_is_read_on_after_each_lost_connection_and_nothing_is_missed_or_repeated() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let url = format!("redis+streams://127.0.0.1:{}", server.port);
    let (_b, mut heard) = open(&url).await.expect("it opens");
    let (a, _arrivals) = open(&url).await.expect("it opens");
    let mut published = Vec::new();
    for n in 0..300 {
        let text = n.to_string();
        if said(&*a, &text).await.is_ok() {
            published.push(text);
        }
        if n % 50 == 25 {
            // Of all clients but the one that says so.
            server.cli(&["client", "kill", "type", "normal"]);
            server.cli(&["client", "kill", "type", "pubsub"]);
        }
    }
    until_said(&*a, "the end").await;
    published.push("the end".to_owned());
    let (mut texts, mut resumed) = (Vec::new(), 0);
    while texts.last().is_none_or(|last| last != "the end") {
        match tokio::time::timeout(PATIENCE, heard.recv()).await.expect("in time").expect("it is open") {
            Arrival::Message { envelope, .. } => texts.push(text_of(&envelope.message)),
            Arrival::Resumed { whole } => {
                assert!(whole, "expected nothing to be missed");
                resumed += 1;
            }
            Arrival::Malformed => panic!("expected messages"),
        }
    }
    assert!(resumed > 0, "expected connections to be lost");
    // What failed may have been published nevertheless: the answer was lost, not the question.
    let mut numbers: Vec<_> = texts.iter().filter_map(|text| text.parse::<u32>().ok()).collect();
    let all = numbers.len();
    numbers.dedup();
    assert!(numbers.is_sorted() && numbers.len() == all, "expected each once, in order: {numbers:?}");
    texts.retain(|text| published.contains(text));
    assert_eq!(texts, published);
}

#[tokio::test]
async fn what_is_cut_off_a_stream_before_it_was_read_is_told() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let url = format!("redis+streams://127.0.0.1:{}", server.port);
    let (b, mut heard) = open(&url).await.expect("it opens");
    let (a, _arrivals) = open(&url).await.expect("it opens");
    until_said(&*a, "before").await;
    hears(&mut heard, "before").await;
    assert_eq!(b.stats().gaps, 0);
    // More at one stroke than the stream keeps: whoever reads it sees the last ones only. Its connection lives.
    let many = "for n = 1, 1000 do redis.call('XADD', 'socket.io', 'MAXLEN', '=', 300, '*', \
                'uid', 'x', 'nsp', '/elsewhere', 'type', '2') end";
    server.cli(&["eval", many, "0"]);
    let told = async {
        loop {
            match heard.recv().await.expect("it is open") {
                Arrival::Resumed { whole } => return whole,
                Arrival::Message { .. } | Arrival::Malformed => {}
            }
        }
    };
    assert!(!tokio::time::timeout(PATIENCE, told).await.expect("it is told in time"));
    until_said(&*a, "after").await;
    hears(&mut heard, "after").await;
    let stats = b.stats();
    assert_eq!((stats.gaps, stats.disconnects), (1, 0), "{stats:?}");
}

#[tokio::test]
async fn rooms_listened_to_while_redis_is_away_are_heard_when_it_is_back() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let url = format!("redis+sharded://127.0.0.1:{}", server.port);
    let (a, _arrivals) = open(&url).await.expect("it opens");
    let (b, mut heard) = open(&url).await.expect("it opens");
    server.kill();
    wait_for(|| b.stats().disconnects > 0).await;
    let listening = tokio::spawn({
        let b = Arc::clone(&b);
        async move { b.listen("attic".into()).await }
    });
    server.start_again();
    listening.await.expect("it does not panic").expect("it listens");
    until_said_to(&*a, Selector::to("attic"), "in the attic").await;
    hears(&mut heard, "in the attic").await;
}

#[tokio::test]
async fn a_channel_is_heard_where_it_is_when_its_slot_has_moved() {
    let Some(cluster) = RedisCluster::start() else { return };
    let url = format!("redis+sharded://{}", cluster.hosts());
    let (a, _arrivals) = open(&url).await.expect("it opens");
    let (b, mut heard) = open(&url).await.expect("it opens");
    b.listen("attic".into()).await.expect("it listens");
    until_said_to(&*a, Selector::to("attic"), "before").await;
    hears(&mut heard, "before").await;
    cluster.move_channel("socket.io#/#attic#");
    loop {
        let arrival =
            tokio::time::timeout(PATIENCE, heard.recv()).await.expect("in time").expect("it is open");
        if arrival == (Arrival::Resumed { whole: false }) {
            break;
        }
    }
    until_said_to(&*a, Selector::to("attic"), "after").await;
    hears(&mut heard, "after").await;
}

#[tokio::test]
async fn a_channel_that_is_dropped_is_gone() {
    let Some(server) = RedisServer::start(&[]) else { return };
    for scheme in ["redis", "redis+sharded", "redis+streams"] {
        let address: Address = format!("{scheme}://127.0.0.1:{}", server.port).parse().expect("an address");
        let adapter = address.into_adapter();
        let (a, _) = open_at(&*adapter).await.expect("it opens");
        let (b, mut heard) = open_at(&*adapter).await.expect("it opens");
        drop(b);
        said(&*a, "to nobody").await.expect("it is published");
        assert!(tokio::time::timeout(PATIENCE, heard.recv()).await.expect("in time").is_none(), "{scheme}");
        drop((a, adapter));
        // Connections of `cli` come and go.
        wait_for(|| !server.cli(&["client", "list"]).contains("resp=3")).await;
        wait_for(|| server.cli(&["pubsub", "channels"]).trim().is_empty()).await;
        wait_for(|| server.cli(&["pubsub", "shardchannels"]).trim().is_empty()).await;
    }
}

type Opened = (Arc<dyn Channel>, mpsc::Receiver<Arrival>);

async fn open(url: &str) -> Result<Opened, AdapterError> {
    open_at(&*url.parse::<Address>().expect("it is an address").into_adapter()).await
}

async fn open_at(adapter: &dyn Adapter) -> Result<Opened, AdapterError> {
    let (sender, arrivals) = mpsc::channel(10_000);
    let inbox = Arc::new(move |arrival| {
        // Nobody may listen any more.
        let _ = sender.try_send(arrival);
    });
    let uid = format!("{:016x}", rand::random::<u64>()).into();
    adapter.open(Opening { nsp: "/".into(), uid, inbox }).await.map(|channel| (channel, arrivals))
}

async fn said(channel: &dyn Channel, text: &str) -> Result<(), AdapterError> {
    said_to(channel, Selector::all(), text).await
}

async fn said_to(channel: &dyn Channel, selector: Selector, text: &str) -> Result<(), AdapterError> {
    let packet = Packet::text(format!(r#"["said","{text}"]"#));
    let message = Message::Broadcast { selector, flags: Flags::default(), packet, request_id: None };
    channel.publish(vec![Letter { to: To::All, message }]).await.remove(0).map(drop)
}

async fn until_said(channel: &dyn Channel, text: &str) {
    until_said_to(channel, Selector::all(), text).await;
}

async fn until_said_to(channel: &dyn Channel, selector: Selector, text: &str) {
    let saying = async {
        while said_to(channel, selector.clone(), text).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, saying).await.expect("it can be said in time");
}

async fn hears(heard: &mut mpsc::Receiver<Arrival>, text: &str) {
    loop {
        let arrival =
            tokio::time::timeout(PATIENCE, heard.recv()).await.expect("in time").expect("it is open");
        if let Arrival::Message { envelope, .. } = arrival
            && text_of(&envelope.message) == text
        {
            return;
        }
    }
}

fn text_of(message: &Message) -> String {
    let Message::Broadcast { packet, .. } = message else { panic!("{message:?}") };
    let [_, text] = serde_json::from_slice::<[String; 2]>(&packet.data).expect("it says something");
    text
}

async fn wait_for(is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it is so in time");
}

/// An authority of the test's own, and a certificate for localhost.
fn certificates() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let ca_key = rcgen::KeyPair::generate().expect("a key");
    let mut ca = rcgen::CertificateParams::new(Vec::new()).expect("an authority");
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).expect("it is signed");
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["localhost".to_owned()];
    let cert =
        rcgen::CertificateParams::new(names).expect("a name").signed_by(&key, &issuer).expect("it is signed");
    for (name, pem) in [("ca.pem", ca_cert.pem()), ("cert.pem", cert.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(dir.path().join(name), pem).expect("it can be written");
    }
    dir
}
