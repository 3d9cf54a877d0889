//! Beside `@socket.io/mongo-adapter` and `@socket.io/mongo-emitter`, in Node.js.

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
    let options =
        r#"{"database":"sockeye","collection":"socket_io_events","adapter":{"addCreatedAtField":true}}"#;
    let packages: &[_] = &["mongodb", "@socket.io/mongo-adapter", "@socket.io/mongo-emitter"];
    let habits = Habits { says_goodbye: false, packages };
    talk(&Real { server, query }, habits, |nsp| vec!["mongo".into(), url, nsp.to_string(), options.into()])
        .await;
}
