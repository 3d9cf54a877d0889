//! Servers of several machines behind a balancer that is not sticky: any takes any request.

use crate::harness::{Host, Ws, quick, within};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sockeye::{Config, NodeLink, NodeSockets, NodeTls, NodeTrust, Secret, Server, Socket};
use sockeye_adapter_suite::memory::{Bus, Kind};
use std::time::Duration;

#[tokio::test]
async fn any_server_takes_any_request_of_polling() {
    for (kind, tls) in
        [(Kind::Plain, false), (Kind::Selecting, false), (Kind::Keeping, false), (Kind::Plain, true)]
    {
        let bus = Bus::new(kind);
        let (a, b) = Box::pin(two(&bus, tls)).await;
        let sid = a.open_polling().await;
        assert_eq!(b.push(&sid, "40").await.body, "ok");
        assert!(b.poll(&sid).await.body.starts_with("40{"), "the connect is answered by way of the other");
        assert_eq!(a.push(&sid, r#"42["echo","é"]"#).await.body, "ok");
        assert_eq!(b.poll(&sid).await.body, r#"42["echo","é"]"#);
        assert_eq!(b.push(&sid, r#"42["echo",2]"#).await.body, "ok");
        assert_eq!(a.poll(&sid).await.body, r#"42["echo",2]"#);
    }
}

#[tokio::test]
async fn a_websocket_is_opened_by_way_of_another_server() {
    for tls in [false, true] {
        let bus = Bus::new(Kind::Plain);
        let (a, b) = Box::pin(two(&bus, tls)).await;
        let sid = a.open_polling().await;
        // As a probe is: `2probe`, `3probe`, `5`.
        let mut ws = Ws::probe(&b, &sid).await;
        ws.send("5").await;
        ws.send("40").await;
        assert!(ws.text().await.starts_with("40{"));
        // The last is more than a socket takes at once.
        for text in ["1".into(), "é".repeat(1000), "x".repeat(500_000)] {
            let said = format!(r#"42["echo","{text}"]"#);
            ws.send(&said).await;
            assert!(ws.text().await == said, "expected all of it back, tls: {tls}");
        }
    }
}

#[tokio::test]
async fn servers_whose_certificates_are_of_different_authorities_do_not_carry_each_others_requests() {
    let bus = Bus::new(Kind::Plain);
    let [ours, theirs] = [Authority::new(), Authority::new()];
    let (a, b) = (node_with(&bus, ours.node()).await, node_with(&bus, theirs.node()).await);
    let sid = a.open_polling().await;
    let answer = b.push(&sid, "40").await;
    assert!(answer.status >= 400, "expected it not to be carried, got {}", answer.status);
    assert!(a.push(&sid, "40").await.status == 200, "its own server has it still");
}

#[tokio::test]
async fn an_unknown_or_forged_sid_is_refused_at_once() {
    let bus = Bus::new(Kind::Plain);
    let (a, _b) = (node(&bus).await, node(&bus).await);
    for _ in 0..20 {
        let answer = a.poll("AAAAAAAAAAAAAAAAAAAA").await;
        assert_eq!(answer.status, 400);
        assert_eq!(answer.body, r#"{"code":1,"message":"Session ID unknown"}"#);
    }
}

#[tokio::test]
async fn the_sids_of_a_server_that_has_closed_are_nobodys() {
    let bus = Bus::new(Kind::Plain);
    let (a, b) = (node(&bus).await, node(&bus).await);
    let sid = a.open_polling().await;
    a.handle.close();
    within(a.serving).await.unwrap().unwrap();
    assert_eq!(b.poll(&sid).await.status, 400);
}

#[tokio::test]
async fn a_link_that_nobody_can_reach_or_that_has_no_backplane_is_named() {
    for (link, adapter, expected) in [
        (link("127.0.0.1:0"), false, "node_link needs an adapter"),
        (link("0.0.0.0:0"), true, "set node_link.advertise"),
        (link("192.0.2.1:9"), true, "cannot listen on node_link.listen 192.0.2.1:9"),
    ] {
        let adapter = adapter.then(|| Bus::new(Kind::Plain).adapter());
        let server = Server::new(Config { adapter, node_link: Some(link), ..quick() });
        let error = server.listen("127.0.0.1:0").await.unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

async fn node(bus: &Bus) -> Host {
    node_with(bus, Secret::new("a secret of many bytes").unwrap()).await
}

/// Two servers that know each other by a secret, or by certificates.
async fn two(bus: &Bus, tls: bool) -> (Host, Host) {
    let authority = Authority::new();
    match tls {
        true => (node_with(bus, authority.node()).await, node_with(bus, authority.node()).await),
        false => (node(bus).await, node(bus).await),
    }
}

async fn node_with(bus: &Bus, trust: impl Into<NodeTrust>) -> Host {
    let link = NodeLink { trust: trust.into(), ..*link("127.0.0.1:0") };
    let config = Config { adapter: Some(bus.adapter()), node_link: Some(Box::new(link)), ..quick() };
    // As on two machines: no sockets that both could use.
    let config = Config { node_sockets: NodeSockets::Off, ping_interval: Duration::from_secs(25), ..config };
    Host::with(config, |main| {
        main.on_connect(|_: Socket| async {}).on("echo", |event: sockeye::Event| async move {
            let value: serde_json::Value = event.data()?;
            event.socket().emit("echo", value)
        });
    })
    .await
}

fn link(listen: &str) -> Box<NodeLink> {
    let secret = Secret::new("a secret of many bytes").unwrap();
    Box::new(NodeLink { listen: listen.parse().unwrap(), advertise: None, trust: secret.into() })
}

/// Signs certificates of nodes.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn node(&self) -> NodeTls {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(vec!["node.example".into()]).unwrap().signed_by(&key, &self.0).unwrap();
        let (certificate, key, ca) = (certificate.pem(), key.serialize_pem(), self.0.pem());
        NodeTls::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes()).unwrap()
    }
}
