//! All checks, one after the other.

use crate::backend::Backend;
use crate::checks;

/// Runs all checks, one after the other, and prints the name of each.
///
/// # Panics
///
/// At the first thing that is not as the contract says ([`sockeye_cluster::adapter`]).
pub async fn run(backend: &dyn Backend) {
    let traits = backend.adapter().await.traits();
    println!("{traits:?}");
    said("what one server publishes comes to all others in its order");
    checks::messages::in_order(backend).await;
    said("every kind of message comes as it was sent");
    checks::messages::every_kind(backend).await;
    said("a reply comes to the one that it is for");
    checks::messages::to_one(backend).await;
    said("an event of 300 KB comes whole");
    checks::messages::large(backend).await;
    said("namespaces are apart");
    checks::messages::apart(backend).await;
    said("servers are counted, where the backplane counts them");
    checks::presence::counted(backend).await;
    said("a room that is listened to is heard");
    checks::rooms::heard(backend).await;
    said("what was published before the close is sent, and nothing comes after it");
    checks::presence::closed(backend).await;
    said("what is no message is skipped");
    checks::faults::malformed(backend).await;
    if traits.offsets {
        said("events have one order for all, own ones included");
        checks::offsets::one_order(backend).await;
        said("a server that comes later hears what is later");
        checks::offsets::later(backend).await;
        said("a session is taken once, with what it missed");
        checks::sessions::taken(backend).await;
        said("a session is forgotten when it is to be");
        checks::sessions::forgotten(backend).await;
    }
    // Last: it disturbs the others.
    said("after a lost connection messages come again, and the gap is told");
    checks::faults::interrupted(backend).await;
}

fn said(check: &str) {
    println!("  {check}");
}
