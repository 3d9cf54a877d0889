//! TLS ends at the edge: certificates by name, read anew when a configuration is applied; clients are relayed whole.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod world;

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sockeye_edge::config::{Certificate, Endpoint, Listener, Tls};
use sockeye_edge::{Config, Proxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use world::{SOCKET, World, get, read_answer, read_head, say, sid, upgrade};

#[tokio::test]
async fn the_certificate_is_the_one_for_the_name_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let files = [
        write(directory.path(), "first", &["first.example"]),
        write(directory.path(), "wild", &["*.wild.example"]),
        write(directory.path(), "exact", &["io.wild.example", "other.example"]),
    ];
    let world = World::of(listening(&files));
    for (name, expected) in [
        ("first.example", 0),
        ("a.wild.example", 1),
        ("io.wild.example", 2),
        ("IO.wild.example", 2),
        ("other.example", 2),
        ("wild.example", 0),
        ("a.b.wild.example", 0),
        ("127.0.0.1", 0),
    ] {
        let stream = connect(&world, name).await;
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        let own = CertificateDer::from_pem_file(&files[expected].certificate).unwrap();
        assert!(shown == own, "{name}");
    }
}

#[tokio::test]
async fn requests_and_websockets_are_relayed_and_known_as_https() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::of(listening(&[write(directory.path(), "a", &["a"])]));
    let worker = world.worker(0).await;
    let mut stream = connect(&world, "a").await;
    for (target, expected) in [
        ("/header/x-forwarded-proto", "https".to_owned()),
        ("/header/x-forwarded-port", world.address.port().to_string()),
        ("/x", format!("{} GET /x", worker.tag)),
    ] {
        stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()).await.unwrap();
        assert_eq!(read_answer(&mut stream).await.1, expected);
    }
    for target in [SOCKET.to_owned(), format!("{SOCKET}&sid={}", sid(worker.tag))] {
        let mut stream = connect(&world, "a").await;
        // What a client sends with its head is not lost.
        stream.write_all((upgrade(&target) + "early").as_bytes()).await.unwrap();
        assert!(read_head(&mut stream).await.starts_with("HTTP/1.1 101 "));
        let mut echo = vec![0; 11];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(echo, format!("{}early", worker.tag).as_bytes());
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut echo).await.unwrap(), 0);
    }
    let stats = world.control.stats();
    assert_eq!((stats.handed_over, stats.listeners[0].upgrades_asked), (0, 2));
    assert_eq!(stats.listeners[0].upgrades_taken, 2);
}

#[tokio::test]
async fn a_client_that_reads_late_gets_all() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::of(listening(&[write(directory.path(), "a", &["a"])]));
    let worker = world.worker(0).await;
    let mut stream = connect(&world, "a").await;
    stream.write_all(upgrade(SOCKET).as_bytes()).await.unwrap();
    read_head(&mut stream).await;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sent = vec![b'x'; 8 << 20];
    // The echo waits behind full buffers on every leg before the first byte is read.
    let writing = tokio::spawn(async move {
        writer.write_all(&sent).await.unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let mut got = vec![0; (8 << 20) + worker.tag.as_str().len()];
    reader.read_exact(&mut got).await.unwrap();
    writing.await.unwrap();
}

#[tokio::test]
async fn certificates_are_read_anew_and_a_bad_one_leaves_the_old() {
    let directory = tempfile::tempdir().unwrap();
    let files = write(directory.path(), "a", &["a"]);
    let config = listening(std::slice::from_ref(&files));
    let world = World::of(config.clone());
    let worker = world.worker(0).await;
    let mut kept = connect(&world, "a").await;
    let old = CertificateDer::from_pem_file(&files.certificate).unwrap();
    write(directory.path(), "a", &["a"]);
    let fresh = CertificateDer::from_pem_file(&files.certificate).unwrap();
    assert!(old != fresh);
    let shown = |stream: &TlsStream<TcpStream>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    assert!(shown(&connect(&world, "a").await) == old);
    world.control.apply(config.clone()).unwrap();
    assert!(shown(&connect(&world, "a").await) == fresh);
    std::fs::write(&files.key, "nothing").unwrap();
    let error = world.control.apply(config).unwrap_err().to_string();
    assert!(error.starts_with("the listener \"main\": no private key in "), "{error}");
    assert!(shown(&connect(&world, "a").await) == fresh);
    kept.write_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(read_answer(&mut kept).await.1, format!("{} GET /x", worker.tag));
}

#[tokio::test]
async fn who_speaks_no_tls_is_told_so_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::of(listening(&[write(directory.path(), "a", &["a"])]));
    let answer = say(world.connect().await, &get("a", "/")).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("this port expects HTTPS"), "{answer}");
    // One that says nothing has not failed.
    drop(world.connect().await);
    world::until(|| world.control.stats().listeners[0].tls_failures == 1).await;
    world::until(|| world.control.stats().open == 0).await;
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_named_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let good = write(directory.path(), "good", &["a"]);
    let other = write(directory.path(), "other", &["b"]);
    let encrypted =
        at("encrypted", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let old_encrypted = at(
        "old",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMII=\n-----END RSA PRIVATE KEY-----\n",
    );
    let broken = at("broken", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let missing = directory.path().join("missing");
    let with = |certificate: &PathBuf, key: &PathBuf| Certificate {
        certificate: certificate.clone(),
        chain: None,
        key: key.clone(),
    };
    for (files, message) in [
        (vec![], "name their files"),
        (vec![with(&good.certificate, &other.key)], "does not belong to the first certificate in"),
        (vec![with(&missing, &good.key)], "missing: No such file"),
        (vec![with(&good.certificate, &missing)], "missing: No such file"),
        (vec![with(&good.key, &good.key)], "no certificate in"),
        (vec![with(&good.certificate, &good.certificate)], "no private key in"),
        (vec![with(&good.certificate, &encrypted)], "is encrypted: write a plain one"),
        (vec![with(&good.certificate, &old_encrypted)], "is encrypted: write a plain one"),
        (vec![with(&broken, &good.key)], "cannot be used: "),
        (
            vec![Certificate { chain: Some(missing.clone()), ..with(&good.certificate, &good.key) }],
            "missing: No such file",
        ),
    ] {
        let error = Proxy::bind(listening(&files)).err().unwrap().to_string();
        assert!(error.contains(message), "{error}");
    }
}

fn listening(files: &[Certificate]) -> Config {
    Config::workers(Listener {
        at: Endpoint::Tcp("127.0.0.1:0".parse().unwrap()),
        tls: Some(Tls { certificates: files.to_vec() }),
        ..Listener::default()
    })
}

async fn connect(world: &World, name: &str) -> TlsStream<TcpStream> {
    world::connect_tls(world.address, name, &[]).await
}

fn write(directory: &Path, name: &str, names: &[&str]) -> Certificate {
    world::certificate(directory, name, names)
}
