//! Beside `@socket.io/mongo-adapter` and `@socket.io/mongo-emitter`, in Node.js.

use sockeye_adapter_suite::official::{Habits, talk};

use crate::server::Server;
use crate::suite::Real;

#[tokio::test]
async fn servers_of_both_kinds_understand_each_other() {
    check("", TIMES).await;
}

#[tokio::test]
async fn servers_of_both_kinds_understand_each_other_with_recovery() {
    check("recovery=true", TIMES).await;
}

#[tokio::test]
async fn servers_of_both_kinds_understand_each_other_in_a_capped_collection() {
    check("created_at=false&recovery=true", CAPPED).await;
}

#[tokio::test]
async fn servers_of_both_kinds_understand_each_other_where_ours_hear_by_a_cursor() {
    check("mode=tailable", CAPPED).await;
}

const TIMES: &str =
    r#"{"database":"sockeye","collection":"socket_io_events","adapter":{"addCreatedAtField":true}}"#;
const CAPPED: &str = r#"{"database":"sockeye","collection":"socket_io_events","capped":1000000}"#;

async fn check(query: &'static str, options: &'static str) {
    let Some(server) = Server::start().await else { return };
    let url = server.url("");
    let packages: &[_] = &["mongodb", "@socket.io/mongo-adapter", "@socket.io/mongo-emitter"];
    let habits = Habits { says_goodbye: false, packages };
    talk(&Real { server, query }, habits, |nsp| vec!["mongo".into(), url, nsp.to_string(), options.into()])
        .await;
}
