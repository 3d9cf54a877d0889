//! Requests to a node of another machine over TLS: nodes with a certificate of the cluster's authority get through, others do not.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use rcgen::{BasicConstraints, Certificate, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use sockeye_relay::{
    Address, Config, NoTls, NodeListener, NodeTls, NodeTrust, Origin, Relay, RelayError, Secret, Socket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn nodes_with_certificates_of_one_authority_meet_and_keep_their_connection() {
    let ca = Authority::new();
    let (address, node) = serve(ca.node(), 1).await;
    // Another certificate than the other end's: of no name, valid still.
    let relay = Relay::new(Config { node_trust: Some(ca.node().into()), ..Config::default() });
    for _ in 0..100 {
        let response = relay.request(&address, get(), &origin()).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    assert_eq!(relay.stats().connects, 1);
    node.abort();
}

#[tokio::test]
async fn who_has_no_certificate_of_the_authority_is_not_let_in_and_its_request_comes_back() {
    let (ca, other) = (Authority::new(), Authority::new());
    let secret = || Secret::new([7; 32]).unwrap();
    let rows: Vec<(NodeTrust, NodeTrust, &str)> = vec![
        // What dials; what accepts; what whoever dials is told.
        (other.signs_for(&ca).into(), ca.node().into(), "alert"),
        (ca.signs_for(&other).into(), ca.node().into(), "invalid peer certificate"),
        (ca.expired().into(), ca.node().into(), "alert"),
        (ca.node().into(), ca.expired().into(), "expired"),
        (ca.not_yet().into(), ca.node().into(), "alert"),
        (secret().into(), ca.node().into(), ""),
        (ca.node().into(), secret().into(), ""),
    ];
    for (row, (dials, accepts, expected)) in rows.into_iter().enumerate() {
        let (address, node) = serve(accepts, 0).await;
        let relay = Relay::new(Config { node_trust: Some(dials), ..Config::default() });
        let refused = relay.request(&address, get(), &origin()).await.err();
        let Some(RelayError::Refused { source, .. }) = refused else {
            panic!("row {row}: expected nothing to be sent")
        };
        let told = source.to_string();
        assert!(told.contains(expected), "row {row}: {told}");
        node.abort();
    }
}

#[tokio::test]
async fn who_shows_no_certificate_or_speaks_no_tls_gets_no_answer() {
    let ca = Authority::new();
    let (address, node) = serve(ca.node(), 0).await;
    let Address::Node(port) = address else { panic!("it is a node's") };
    let mut stream = without_certificate(port).await;
    // TLS 1.3: whoever accepts says no after the other end is done.
    drop(stream.write_all(b"GET /here HTTP/1.1\r\n\r\n").await);
    let mut got = Vec::new();
    assert!(stream.read_to_end(&mut got).await.is_err());
    assert_eq!(got, b"");
    let mut plain = TcpStream::connect(port).await.unwrap();
    plain.write_all(b"GET /here HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    drop(plain.read_to_end(&mut got).await);
    assert!(!got.starts_with(b"HTTP"), "{got:?}");
    node.abort();
}

#[test]
fn what_no_tls_can_be_made_of_is_named() {
    let (ca, other) = (Authority::new(), Authority::new());
    let ((cert, key), (_, others_key)) = (ca.pem(valid()), other.pem(valid()));
    let root = ca.certificate.pem();
    for (cert, key, root, expected) in [
        ("", &*key, &*root, "expected certificates in PEM in the certificate"),
        (&*cert, "nonsense", &root, "expected a private key in PEM in the key"),
        (&cert, &key, "", "expected certificates in PEM in the authority's certificates"),
        (&cert, &others_key, &root, "the certificate, its key and the authority"),
    ] {
        let error = NodeTls::from_pem(cert.as_bytes(), key.as_bytes(), root.as_bytes()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let missing = NodeTls::from_files("/none.pem".as_ref(), "/k".as_ref(), "/c".as_ref()).unwrap_err();
    assert!(matches!(&missing, NoTls::File { path, .. } if path.ends_with("none.pem")), "{missing}");
    assert!(missing.to_string().starts_with("cannot read /none.pem"), "{missing}");
    assert_eq!(ca.node().unfit(), None);
    assert!(ca.expired().unfit().unwrap().contains("expired"));
    assert!(ca.signs_for(&other).unfit().unwrap().contains("invalid peer certificate"));
    assert_eq!(format!("{:?}", ca.node()), "NodeTls(…)");
}

/// Signs certificates of nodes.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn pem(&self, params: CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A certificate of this authority, of a node that believes in another.
    fn believing(&self, params: CertificateParams, root: &Self) -> NodeTls {
        let (cert, key) = self.pem(params);
        NodeTls::from_pem(cert.as_bytes(), key.as_bytes(), root.certificate.pem().as_bytes()).unwrap()
    }

    fn node(&self) -> NodeTls {
        self.believing(valid(), self)
    }

    fn signs_for(&self, other: &Self) -> NodeTls {
        self.believing(valid(), other)
    }

    fn expired(&self) -> NodeTls {
        let mut params = valid();
        params.not_after = date_time_ymd(2020, 1, 1);
        self.believing(params, self)
    }

    fn not_yet(&self) -> NodeTls {
        let mut params = valid();
        params.not_before = date_time_ymd(4000, 1, 1);
        self.believing(params, self)
    }
}

fn valid() -> CertificateParams {
    CertificateParams::new(vec!["node.example".into()]).unwrap()
}

/// A node that answers `ok` to each request of those whom it lets in.
async fn serve(trust: impl Into<NodeTrust>, connections_max: usize) -> (Address, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let mut door = NodeListener::new(listener, trust);
    let address = Address::Node(door.local_addr().unwrap());
    let node = tokio::spawn(async move {
        let mut let_in = 0;
        loop {
            let (socket, _): (Socket, SocketAddr) = door.accept().await.unwrap();
            let_in += 1;
            assert!(let_in <= connections_max, "somebody was let in");
            tokio::spawn(answer(socket));
        }
    });
    (address, node)
}

async fn answer(mut socket: Socket) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while matches!(socket.read(&mut byte).await, Ok(1)) {
        head.push(byte[0]);
        if head.ends_with(b"\r\n\r\n") {
            assert!(head.starts_with(b"GET /here HTTP/1.1\r\n"), "{head:?}");
            head.clear();
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
            socket.flush().await.unwrap();
        }
    }
}

async fn without_certificate(port: SocketAddr) -> tokio_rustls::client::TlsStream<TcpStream> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    let name = ServerName::try_from("node.example").unwrap();
    let stream = TcpStream::connect(port).await.unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("/here").body(Empty::new()).unwrap()
}

fn origin() -> Origin {
    Origin::new("192.0.2.7:5000".parse().unwrap())
}
