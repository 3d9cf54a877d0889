//! Beside `@socket.io/postgres-adapter` and `@socket.io/postgres-emitter`, in Node.js.

use sockeye_adapter_suite::official::{Habits, talk};

use crate::server::Server;
use crate::suite::Real;

#[tokio::test]
async fn servers_of_both_kinds_understand_each_other() {
    check("").await;
}

#[tokio::test]
async fn servers_of_both_kinds_understand_each_other_with_recovery() {
    check("recovery=true").await;
}

async fn check(query: &'static str) {
    let Some(server) = Server::start().await else { return };
    let url = server.url("");
    let packages: &[_] = &["pg", "@socket.io/postgres-adapter", "@socket.io/postgres-emitter"];
    let habits = Habits { says_goodbye: true, packages };
    talk(&Real { server, query }, habits, |nsp| vec!["postgres".into(), url, nsp.to_string()]).await;
}
