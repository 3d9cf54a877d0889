//! What every adapter keeps, on a real NATS server: without and with recovery.

use std::sync::Arc;

use crate::server::Server;
use parking_lot::Mutex;
use sockeye_adapter_suite::{Backend, run};
use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::{Adapter, BoxFuture};
use sockeye_nats::{Config, Nats};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn core_nats_keeps_the_contract() {
    let Some(server) = Server::start(&[]) else { return };
    run(&Real { server: Mutex::new(server), parameters: "" }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_keeps_the_contract() {
    let Some(server) = Server::start(&[]) else { return };
    run(&Real { server: Mutex::new(server), parameters: "?recovery=10m" }).await;
}

struct Real {
    server: Mutex<Server>,
    parameters: &'static str,
}

impl Backend for Real {
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
        let url = self.server.lock().url(self.parameters);
        let config = Config::from_url(&url).expect("it is an address");
        Box::pin(std::future::ready(Arc::new(Nats::new(config)) as Arc<dyn Adapter>))
    }

    fn scribble<'a>(&'a self, nsp: &'a Nsp) -> BoxFuture<'a, bool> {
        let url = self.server.lock().url("");
        Box::pin(async move {
            let client = Box::pin(async_nats::connect(url)).await.expect("it connects");
            let subject = format!("sockeye.=2F{}.all", &nsp[1..]);
            for text in ["", "no message", "{\"type\":3}", "\u{1}\u{2}"] {
                client.publish(subject.clone(), text.into()).await.expect("it is published");
            }
            client.flush().await.expect("it is sent");
            true
        })
    }

    fn interrupt(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            tokio::task::block_in_place(|| self.server.lock().restart());
            true
        })
    }
}
