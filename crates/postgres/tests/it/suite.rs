//! What every adapter keeps.

use std::sync::Arc;

use sockeye_adapter_suite::{Backend, run};
use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::{Adapter, BoxFuture};
use sockeye_postgres::{Config, Postgres};

use crate::server::Server;

#[tokio::test]
async fn the_adapter_keeps_the_contract() {
    let Some(server) = Server::start().await else { return };
    run(&Real { server, query: "" }).await;
}

#[tokio::test]
async fn with_recovery_the_adapter_keeps_the_contract() {
    let Some(server) = Server::start().await else { return };
    run(&Real { server, query: "recovery=true" }).await;
}

pub(crate) struct Real {
    pub(crate) server: Server,
    pub(crate) query: &'static str,
}

impl Backend for Real {
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
        let config = Config::from_url(&self.server.url(self.query)).unwrap();
        Box::pin(async { Arc::new(Postgres::new(config)) as Arc<dyn Adapter> })
    }

    fn scribble<'a>(&'a self, nsp: &'a Nsp) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let client = self.server.client().await;
            for text in [
                "no JSON",
                "{}",
                r#"{"uid":"b0b","nsp":"/","type":99}"#,
                r#"{"uid":"b0b","attachmentId":"x"}"#,
            ] {
                client
                    .execute("SELECT pg_notify($1, $2)", &[&format!("socket.io#{nsp}"), &text])
                    .await
                    .unwrap();
            }
            true
        })
    }

    fn interrupt(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            self.server.restart().await;
            true
        })
    }
}
