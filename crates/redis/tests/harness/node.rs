//! A Node.js server with the official packages: `tests/redis-node.mjs`, which takes orders and tells what it hears.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Node {
    _child: Child,
    orders: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Node {
    /// Starts one and waits until it serves; `None`, said aloud, where Node.js or its packages are missing.
    pub(crate) async fn start(port: u16, kind: &str) -> Option<Self> {
        let tests = tests();
        if !tests.join("node_modules/@socket.io/redis-streams-adapter").exists() {
            println!("skipped: no npm packages (cd tests && npm ci)");
            return None;
        }
        let command = Command::new("node")
            .arg(tests.join("redis-node.mjs"))
            .args([&port.to_string(), kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn();
        let Ok(mut child) = command else {
            println!("skipped: no node");
            return None;
        };
        let orders = child.stdin.take().expect("it is piped");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let mut node = Self { _child: child, orders, lines };
        node.until("ready").await;
        Some(node)
    }

    /// Gives an order.
    pub(crate) async fn order(&mut self, order: Value) {
        self.orders.write_all(format!("{order}\n").as_bytes()).await.expect("node takes orders");
    }

    /// Gives an order and waits until it is done.
    pub(crate) async fn obeys(&mut self, order: Value) {
        let done = json!(order["do"]);
        self.order(order).await;
        while self.until("done").await["done"] != done {}
    }

    /// The next line that has this key.
    pub(crate) async fn until(&mut self, key: &str) -> Value {
        loop {
            let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("expected `{key}` of node in time"));
            let line = line
                .expect("node's output can be read")
                .unwrap_or_else(|| panic!("node ended before `{key}`"));
            let line: Value = serde_json::from_str(&line).expect("node writes JSON");
            if !line[key].is_null() {
                return line;
            }
        }
    }
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests")
}
