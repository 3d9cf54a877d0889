//! The adapter in memory keeps the contract, in all of its kinds.

use std::sync::Arc;

use sockeye_adapter_suite::memory::{Bus, Kind};
use sockeye_adapter_suite::{Backend, run};
use sockeye_cluster::Nsp;
use sockeye_cluster::adapter::{Adapter, BoxFuture};

#[tokio::test]
async fn a_plain_bus_keeps_the_contract() {
    run(&InMemory(Bus::new(Kind::Plain))).await;
}

#[tokio::test]
async fn a_bus_that_selects_rooms_keeps_the_contract() {
    run(&InMemory(Bus::new(Kind::Selecting))).await;
}

#[tokio::test]
async fn a_bus_that_keeps_events_and_sessions_keeps_the_contract() {
    run(&InMemory(Bus::new(Kind::Keeping))).await;
}

struct InMemory(Bus);

impl Backend for InMemory {
    fn adapter(&self) -> BoxFuture<'_, Arc<dyn Adapter>> {
        Box::pin(async { self.0.adapter() })
    }

    fn scribble<'a>(&'a self, nsp: &'a Nsp) -> BoxFuture<'a, bool> {
        self.0.scribble(nsp);
        Box::pin(async { true })
    }

    fn interrupt(&self) -> BoxFuture<'_, bool> {
        self.0.cut();
        self.0.heal();
        Box::pin(async { true })
    }
}
