//! Who may come, and by what way: logins and TLS.

use std::fs;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use sockeye_cluster::Message;
use sockeye_cluster::adapter::{Adapter, AdapterError, Channel, Letter, Opening};
use sockeye_cluster::node::To;
use sockeye_nats::{Config, Nats};

use crate::server::Server;

/// An nkey of a user, and its seed.
const NKEY: &str = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4";
const SEED: &str = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY";

#[tokio::test]
async fn a_login_lets_in_and_another_is_refused_without_a_word_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let nkeys = dir.path().join("nkeys.conf");
    fs::write(&nkeys, format!("authorization {{ users = [ {{ nkey: {NKEY} }} ] }}")).expect("it is written");
    let nkeys = nkeys.display().to_string();
    for (flags, login, parameters) in [
        (vec!["--user", "ann", "--pass", "p@ss:word"], "ann:p%40ss%3Aword@", String::new()),
        (vec!["--auth", "t0ken"], "t0ken@", String::new()),
        (vec!["-c", nkeys.as_str()], "", format!("?nkey={SEED}")),
    ] {
        let Some(server) = Server::start(&flags) else { return };
        let url =
            |login: &str, parameters: &str| format!("nats://{login}127.0.0.1:{}/{parameters}", server.port);
        speak(&url(login, &parameters)).await.unwrap_or_else(|error| panic!("{flags:?}: {error}"));
        for wrong in ["", "bob:s3cret@", "s3cret@"] {
            let error = speak(&url(wrong, "")).await.expect_err("nobody knows it");
            assert!(matches!(&error, AdapterError::Refused(_)), "{flags:?}: {error}");
            let text = error.to_string();
            assert!(text.contains("give nats://user:password@…") && !text.contains("s3cret"), "{text}");
        }
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_the_place() {
    let Some(mut server) = Server::start(&[]) else { return };
    server.stop();
    let error = speak(&server.url("")).await.expect_err("it is stopped");
    assert!(matches!(&error, AdapterError::Unreachable(_)), "{error}");
    assert!(error.to_string().contains(&format!("nats://127.0.0.1:{}", server.port)), "{error}");
}

#[tokio::test]
async fn recovery_without_jetstream_is_refused_with_the_fix() {
    let Some(server) = Server::start(&["--without-jetstream"]) else { return };
    let error = speak(&server.url("?recovery=10m")).await.expect_err("it has none");
    assert!(matches!(&error, AdapterError::Refused(_)), "{error}");
    assert!(error.to_string().contains("start nats-server with -js"), "{error}");
}

#[tokio::test]
async fn a_connection_is_encrypted_and_strangers_certificates_are_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: String| {
        let path = dir.path().join(name);
        fs::write(&path, text).expect("it is written");
        path.display().to_string()
    };
    let ca = authority();
    let (ca_file, stranger) = (file("ca.pem", ca.pem()), file("stranger.pem", authority().pem()));
    let (cert, key) = signed(&ca, vec!["localhost".into(), "127.0.0.1".into()]);
    let (cert, key) = (file("cert.pem", cert), file("key.pem", key));
    let (own, own_key) = signed(&ca, vec!["node".into()]);
    let (own, own_key) = (file("own.pem", own), file("own-key.pem", own_key));
    let flags = ["--tls", "--tlscert", &cert, "--tlskey", &key, "--tlscacert", &ca_file, "--tlsverify"];
    let Some(server) = Server::start(&flags) else { return };
    let url = |rest: &str| format!("tls://localhost:{}/{rest}", server.port);
    speak(&url(&format!("?ca={ca_file}&cert={own}&key={own_key}")))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    for wrong in [format!("?ca={stranger}&cert={own}&key={own_key}"), format!("?ca={ca_file}"), String::new()]
    {
        speak(&url(&wrong)).await.expect_err("it is not trusted, or does not trust");
    }
}

async fn speak(url: &str) -> Result<(), AdapterError> {
    let adapter = Nats::new(Config::from_url(url).expect("it is an address"));
    let opening = Opening { nsp: "/".into(), uid: "a34a292dd6b7d25a".into(), inbox: Arc::new(drop) };
    let channel: Arc<dyn Channel> = adapter.open(opening).await?;
    let letter = Letter { to: To::All, message: Message::Heartbeat };
    channel.publish(vec![letter]).await.remove(0).map(drop)
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("it signs itself")
}

fn signed(ca: &CertifiedIssuer<'static, KeyPair>, names: Vec<String>) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(names).expect("good names");
    let certificate = params.signed_by(&key, ca).expect("it is signed");
    (certificate.pem(), key.serialize_pem())
}
