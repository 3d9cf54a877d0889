//! Our client and the official server.

mod harness;
mod rows;

use harness::{Server, Software};
use rows::{echo, joined, within};
use sockeye_client::{Cause, Client, Config, ConnectError, Phase, Reconnection, Tls, Transport};
use std::num::NonZeroU32;
use std::time::Duration;

rows!(Software::Official;
    a_client_moves_from_polling_to_a_websocket,
    polling_alone_does,
    a_websocket_alone_does,
    payloads_are_typed_raw_or_several,
    acks_go_both_ways_and_may_be_late,
    attachments_go_both_ways,
    namespaces_share_one_connection,
    credentials_are_shown,
    a_refusal_is_told_and_can_be_mended,
    a_client_that_is_put_out_stays_out_until_it_asks,
    the_request_carries_headers_and_query,
    a_client_outlives_its_server,
    what_was_missed_comes_before_a_client_goes_on,
    a_dead_wire_is_noticed_by_the_missing_pings,
    volatile_events_are_dropped_while_the_client_is_out,
    a_client_says_goodbye,
    limits_have_outcomes,
);

#[tokio::test]
async fn cookies_are_sent_back_unless_that_is_not_wanted() {
    let Some(server) = Server::official(r#"{"cookie":{"name":"io","path":"/"}}"#, &[]).await else { return };
    for cookies in [true, false] {
        let config = Config { transports: vec![Transport::Polling], cookies, ..Config::default() };
        let (_client, socket) = joined(&server.url(), config).await;
        let seen: String = within(socket.emit_with_ack("cookie", ())).await.expect("an answer");
        assert_eq!(seen.starts_with("io="), cookies, "{seen}");
    }
}

#[tokio::test]
async fn tls_is_believed_only_where_it_is_to_be() {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let certificate = signed.cert.pem();
    let variables = [("TLS_KEY", signed.signing_key.serialize_pem()), ("TLS_CERT", certificate.clone())];
    let Some(server) = Server::official("{}", &variables).await else { return };
    let url = format!("https://localhost:{}", server.port);
    for tls in [Tls::Authorities(certificate.into_bytes()), Tls::Anyone] {
        for transport in [Transport::Polling, Transport::WebSocket] {
            let config = Config { transports: vec![transport], tls: tls.clone(), ..Config::default() };
            let (_client, socket) = joined(&url, config).await;
            echo(&socket).await;
        }
    }
    let client = Client::new(&url, Config { reconnection: None, ..Config::default() }).expect("a URL");
    let socket = client.socket("/").expect("there is room");
    let Err(ConnectError::NoConnection(closed)) = within(socket.connected()).await else {
        panic!("expected that the certificate is not believed");
    };
    assert_eq!(closed.cause, Cause::TransportError);
    assert!(closed.detail.contains("certificate"), "{closed}");
    let none = Config { tls: Tls::Authorities(b"nonsense".to_vec()), ..Config::default() };
    assert!(Client::new(&url, none).is_err());
}

#[tokio::test]
async fn nobody_there_is_told_after_the_last_try() {
    let url = format!("http://127.0.0.1:{}", harness::free_port());
    let tries = |max| Reconnection {
        delay: Duration::from_millis(1),
        attempts_max: NonZeroU32::new(max),
        ..Reconnection::default()
    };
    for (reconnection, attempts) in [(None, 0), (Some(tries(3)), 3)] {
        let client = Client::new(&url, Config { reconnection, ..Config::default() }).expect("a URL");
        let socket = client.socket("/").expect("there is room");
        let Err(ConnectError::NoConnection(closed)) = within(socket.connected()).await else {
            panic!("expected no connection");
        };
        assert_eq!(closed.cause, Cause::TransportError);
        assert!(closed.detail.starts_with("cannot connect to 127.0.0.1:"), "{closed}");
        assert!(within(socket.next()).await.is_none());
        let status = within(client.wait(|_| false)).await;
        assert_eq!((status.phase, status.attempts), (Phase::Over, attempts));
    }
}
