//! Whether an upstream lives, on real sockets: one that is killed may end its connections before it stops listening.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

use sockeye_relay::{Address, Config, Relay};
use tempfile::TempDir;
use tokio::net::UnixListener;

#[tokio::test]
async fn whoever_is_being_killed_is_dead_though_it_listens_yet() {
    let (directory, listener) = listening();
    let relay = Relay::new(Config::default());
    let upstream = relay.to(&address(&directory));
    let looking = tokio::spawn(async move { upstream.is_listening().await });
    // The look's own connection has come; it is not accepted, and ends with the listener.
    let taken = listener.accept().await.unwrap();
    drop(listener);
    drop(taken);
    assert!(!looking.await.unwrap());
}

#[tokio::test]
async fn whoever_keeps_a_connection_or_takes_another_lives() {
    let (directory, listener) = listening();
    let relay = Relay::new(Config::default());
    let upstream = relay.to(&address(&directory));
    assert!(upstream.is_listening().await, "it is silent");
    let closing = tokio::spawn(async move {
        loop {
            drop(listener.accept().await.unwrap());
        }
    });
    assert!(upstream.is_listening().await, "it closes at once whatever comes");
    closing.abort();
    assert!(closing.await.unwrap_err().is_cancelled());
    assert!(!upstream.is_listening().await, "nobody is there");
}

fn listening() -> (TempDir, UnixListener) {
    let directory = TempDir::new().unwrap();
    let listener = UnixListener::bind(directory.path().join("s")).unwrap();
    (directory, listener)
}

fn address(directory: &TempDir) -> Address {
    Address::Unix(directory.path().join("s"))
}
