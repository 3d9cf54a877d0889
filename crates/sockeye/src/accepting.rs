//! What every listener does when `accept` fails, as it does when the process has no descriptor left.

use std::io;
use std::time::Duration;

/// How long a listener waits then before the next `accept`.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Says so, and waits.
///
/// # Cancel safety
/// It only waits.
pub(crate) async fn pause_after(error: io::Error, listener: &'static str) {
    tracing::warn!(%error, listener, "accept failed");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}
