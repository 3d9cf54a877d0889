//! The suite that every adapter passes, against a real redis-server and a real Redis Cluster.

mod harness;

use std::sync::Arc;

use harness::RedisServer;
use harness::cluster::RedisCluster;
use sockeye_adapter_suite::Backend;
use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::{Adapter, BoxFuture};
use sockeye_redis::{
    Address, Classic, ClassicOptions, Mode, Server, Sharded, ShardedOptions, Streams, StreamsOptions,
};

struct Redis<F> {
    server: RedisServer,
    adapter: F,
    /// What is published where to be no message: `PUBLISH` or `SPUBLISH`, and what the channel begins and ends with.
    scribble: (&'static str, &'static str, &'static str),
}

impl<F: Fn(Server) -> Arc<dyn Adapter> + Sync> Backend for Redis<F> {
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
        Box::pin(async { (self.adapter)(Server::single("127.0.0.1", self.server.port)) })
    }

    fn scribble<'a>(&'a self, nsp: &'a Nsp) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let client = redis::Client::open(self.server.url("")).expect("it is an address");
            let mut connection = client.get_multiplexed_async_connection().await.expect("it connects");
            let (word, before, after) = self.scribble;
            let channel = format!("{before}{nsp}{after}");
            redis::cmd(word)
                .arg(channel)
                .arg(&b"\xc1nonsense"[..])
                .exec_async(&mut connection)
                .await
                .expect("it is published");
            true
        })
    }

    fn interrupt(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            self.server.kill();
            self.server.start_again();
            true
        })
    }
}

#[tokio::test]
async fn classic_is_an_adapter() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let adapter = |server| Arc::new(Classic::new(server, ClassicOptions::default())) as Arc<dyn Adapter>;
    let scribble = ("PUBLISH", "socket.io-request#", "#");
    sockeye_adapter_suite::run(&Redis { server, adapter, scribble }).await;
}

#[tokio::test]
async fn classic_with_answers_to_one_is_an_adapter() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let adapter = |server| {
        let options = ClassicOptions { channel_prefix: "a*b?[c]".into(), specific_responses: true };
        Arc::new(Classic::new(server, options)) as Arc<dyn Adapter>
    };
    let scribble = ("PUBLISH", "a*b?[c]-response#", "#");
    sockeye_adapter_suite::run(&Redis { server, adapter, scribble }).await;
}

#[tokio::test]
async fn sharded_is_an_adapter_in_each_mode() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let mut server = Some(server);
    for mode in [Mode::Static, Mode::Dynamic, Mode::DynamicPrivate] {
        let adapter = |server| {
            let options = ShardedOptions { mode, ..ShardedOptions::default() };
            Arc::new(Sharded::new(server, options)) as Arc<dyn Adapter>
        };
        let scribble = ("SPUBLISH", "socket.io#", "#");
        let backend = Redis { server: server.take().expect("it is put back"), adapter, scribble };
        sockeye_adapter_suite::run(&backend).await;
        server = Some(backend.server);
    }
}

#[tokio::test]
async fn streams_is_an_adapter() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let adapter = |server| Arc::new(Streams::new(server, StreamsOptions::default())) as Arc<dyn Adapter>;
    sockeye_adapter_suite::run(&Redis { server, adapter, scribble: ("PUBLISH", "socket.io#", "#") }).await;
}

#[tokio::test]
async fn streams_with_several_streams_and_sharded_requests_is_an_adapter() {
    let Some(server) = RedisServer::start(&[]) else { return };
    let adapter = |server| {
        let options = StreamsOptions { stream_count: 4, sharded_pub_sub: true, ..StreamsOptions::default() };
        Arc::new(Streams::new(server, options)) as Arc<dyn Adapter>
    };
    sockeye_adapter_suite::run(&Redis { server, adapter, scribble: ("SPUBLISH", "socket.io#", "#") }).await;
}

struct Cluster {
    cluster: RedisCluster,
    scheme: &'static str,
    query: &'static str,
}

impl Backend for Cluster {
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
        let address = format!("{}://{}{}", self.scheme, self.cluster.hosts(), self.query);
        Box::pin(async move { address.parse::<Address>().expect("it is an address").into_adapter() })
    }

    fn interrupt(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            self.cluster.kill();
            self.cluster.start_again();
            true
        })
    }
}

#[tokio::test]
async fn a_cluster_carries_classic() {
    let Some(cluster) = RedisCluster::start() else { return };
    sockeye_adapter_suite::run(&Cluster { cluster, scheme: "redis", query: "" }).await;
}

#[tokio::test]
async fn a_cluster_carries_sharded() {
    let Some(cluster) = RedisCluster::start() else { return };
    sockeye_adapter_suite::run(&Cluster { cluster, scheme: "redis+sharded", query: "?mode=dynamic-private" })
        .await;
}

#[tokio::test]
async fn a_cluster_carries_streams() {
    let Some(cluster) = RedisCluster::start() else { return };
    let query = "?stream_count=3&sharded_pub_sub=true";
    sockeye_adapter_suite::run(&Cluster { cluster, scheme: "redis+streams", query }).await;
}
