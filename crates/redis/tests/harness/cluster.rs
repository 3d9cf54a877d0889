//! A Redis Cluster of three masters, the test's own.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{RedisServer, free_port};

pub(crate) struct RedisCluster {
    servers: Vec<RedisServer>,
}

impl RedisCluster {
    pub(crate) fn start() -> Option<Self> {
        let mut servers = Vec::new();
        for _ in 0..3 {
            let bus = free_port().to_string();
            servers.push(RedisServer::start(&[
                "--cluster-enabled",
                "yes",
                "--cluster-port",
                &bus,
                "--cluster-node-timeout",
                "2000",
            ])?);
        }
        let cluster = Self { servers };
        let mut create = Command::new("redis-cli");
        create
            .args(["--cluster", "create"])
            .args(cluster.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)));
        let output = create.arg("--cluster-yes").stdin(Stdio::null()).output().expect("redis-cli runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        cluster.wait();
        Some(cluster)
    }

    pub(crate) fn hosts(&self) -> String {
        let hosts: Vec<_> = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port)).collect();
        hosts.join(",")
    }

    pub(crate) fn kill(&self) {
        self.servers.iter().for_each(RedisServer::kill);
    }

    pub(crate) fn start_again(&self) {
        self.servers.iter().for_each(RedisServer::start_again);
        self.wait();
    }

    /// Gives the slot of a channel to another server.
    pub(crate) fn move_channel(&self, channel: &str) {
        let slot = self.servers[0].cli(&["cluster", "keyslot", channel]).trim().to_owned();
        let owns = |server: &&RedisServer| !server.cli(&["spublish", channel, "x"]).contains("MOVED");
        let from = self.servers.iter().position(|server| owns(&server)).expect("somebody has it");
        let (from, to) = (&self.servers[from], &self.servers[(from + 1) % 3]);
        let id = to.cli(&["cluster", "myid"]).trim().to_owned();
        for server in [to, from].into_iter().chain(&self.servers) {
            let said = server.cli(&["cluster", "setslot", &slot, "node", &id]);
            assert_eq!(said.trim(), "OK");
        }
    }

    /// Until each server says that all is well.
    fn wait(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        for server in &self.servers {
            while !server.cli(&["cluster", "info"]).contains("cluster_state:ok") {
                assert!(Instant::now() < until, "the cluster comes together in time");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}
