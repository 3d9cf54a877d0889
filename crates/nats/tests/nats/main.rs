//! The adapter on real NATS servers, which the tests start and stop.

mod access;
mod doc;
mod order;
mod proxy;
mod server;
mod suite;
