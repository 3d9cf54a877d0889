//! Credentials that end while their client is connected.

use crate::harness::{Client, Host, Log, heard, until, within};
use sockeye::{Args, Config, DisconnectReason, Event, Limit, Refusal, Socket};
use std::time::{Duration, SystemTime};

#[tokio::test]
async fn a_credential_that_ends_takes_its_socket_along_and_no_other() {
    let (log, mut ends) = Log::new();
    let host = Host::with(Config::default(), move |main| {
        main.guard(async |socket: Socket| {
            socket.expire_at(SystemTime::now() + Duration::from_millis(200));
            Ok(())
        });
        main.on_expiring(|socket: Socket| async move { socket.emit("expiring", ()) });
        // A handler that never ends does not keep the client in.
        main.on("stuck", async |_: Event| std::future::pending::<()>().await);
        main.on_disconnect(move |socket: Socket, reason| {
            log.add((socket.has_expired(), reason));
            async {}
        });
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.hears(&[r#"42["expiring"]"#, "41"]).await;
    assert_eq!(heard(&mut ends).await, (true, DisconnectReason::ServerNamespaceDisconnect));
    assert_eq!(host.handle.stats().limit(Limit::ExpireAt), 1);
    let mut stuck = Client::enter(&host).await;
    stuck.say(r#"42["stuck"]"#).await;
    stuck.hears(&[r#"42["expiring"]"#, "41"]).await;
    assert_eq!(host.handle.stats().limit(Limit::ExpireAt), 2);
    // The connection lives on.
    assert_eq!(host.handle.stats().sessions, 2);
}

#[tokio::test]
async fn a_client_that_brings_another_credential_stays() {
    let host = Host::with(Config::default(), |main| {
        main.guard(async |socket: Socket| {
            socket.expire_in(Duration::from_millis(300));
            Ok(())
        });
        main.on_reauth(|socket: Socket, args: Args| async move {
            if args.data::<String>()? != "good" {
                return Err(Refusal::new("unknown token").with_data(7)?);
            }
            socket.expire_never();
            Ok(())
        });
        main.on("mark", async |event: Event| event.ack(()));
    })
    .await;
    let mut client = Client::enter(&host).await;
    client.say(r#"421["reauth","bad"]"#).await;
    client.hears(&[r#"431[{"data":7,"message":"unknown token","status":"error"}]"#]).await;
    client.say(r#"422["reauth","good"]"#).await;
    client.hears(&[r#"432[{"status":"ok"}]"#]).await;
    let mut other = Client::enter(&host).await;
    other.say(r#"421["reauth",5]"#).await;
    assert!(other.text().await.contains(r#""status":"error""#));
    // The one without a good one is out, the other one is not.
    other.hears(&["41"]).await;
    within(until(|| host.handle.stats().limit(Limit::ExpireAt) == 1)).await;
    client.say(r#"423["mark"]"#).await;
    client.hears(&["433[]"]).await;
}
