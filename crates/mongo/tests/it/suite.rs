//! What every adapter keeps.

use std::sync::Arc;

use mongodb::bson::{Document, doc};
use sockeye_adapter_suite::{Backend, run};
use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::{Adapter, BoxFuture};
use sockeye_mongo::{Config, Mongo};

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

#[tokio::test]
async fn with_a_capped_collection_the_adapter_keeps_the_contract() {
    let Some(server) = Server::start().await else { return };
    run(&Real { server, query: "created_at=false&recovery=true" }).await;
}

#[tokio::test]
async fn with_a_tailable_cursor_the_adapter_keeps_the_contract() {
    let Some(server) = Server::start_alone().await else { return };
    run(&Real { server, query: "mode=tailable" }).await;
}

#[tokio::test]
async fn with_a_tailable_cursor_and_recovery_the_adapter_keeps_the_contract() {
    let Some(server) = Server::start_alone().await else { return };
    run(&Real { server, query: "mode=tailable&recovery=true" }).await;
}

pub(crate) struct Real {
    pub(crate) server: Server,
    pub(crate) query: &'static str,
}

impl Backend for Real {
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
        Box::pin(async {
            let config = Config::from_url(&self.server.url(self.query)).await.unwrap();
            Arc::new(Mongo::new(config)) as Arc<dyn Adapter>
        })
    }

    fn scribble<'a>(&'a self, nsp: &'a Nsp) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let client = mongodb::Client::with_uri_str(self.server.url("")).await.unwrap();
            let collection = client.database("sockeye").collection::<Document>("socket_io_events");
            for document in [doc! {"nsp": nsp.as_str()}, doc! {"nsp": nsp.as_str(), "type": 99, "uid": "b0b"}]
            {
                collection.insert_one(document).await.unwrap();
            }
            true
        })
    }

    fn interrupt(&self) -> BoxFuture<'_, bool> {
        self.server.cut();
        Box::pin(std::future::ready(true))
    }
}
