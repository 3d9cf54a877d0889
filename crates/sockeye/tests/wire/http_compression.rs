//! Answers of polling that were made small, and those that were not.

use crate::harness::{Host, read_to_end, within};
use flate2::read::{GzDecoder, ZlibDecoder};
use sockeye::{Config, Event, HttpCompression, Server};
use std::io::Read;

#[tokio::test]
async fn long_answers_are_compressed_for_clients_that_read_it() {
    let host = Host::echo(Config::default()).await;
    let sid = host.open_polling().await;
    for (length, accept, encoding) in [
        (1024, "gzip, deflate, br, zstd", Some("gzip")),
        (1024, "deflate", Some("deflate")),
        (1024, "deflate;q=0.9\r\nAccept-Encoding: gzip", Some("gzip")),
        (1023, "gzip", None),
        (1024, "br", None),
        (1024, "gzip;q=0", None),
        (32 << 10, "gzip", Some("gzip")),
        // Another thread's work.
        ((32 << 10) + 1, "gzip", Some("gzip")),
        (900_000, "deflate", Some("deflate")),
    ] {
        let message = format!("4{}", text(length - 1));
        host.push(&sid, &message).await;
        let answer = poll(&host, &sid, accept).await;
        assert_eq!(answer.encoding.as_deref(), encoding, "{length} {accept}");
        assert!(answer.body == message.as_bytes(), "{length} {accept}");
        assert!(!answer.head.to_ascii_lowercase().contains("vary"), "{}", answer.head);
    }
}

#[tokio::test]
async fn a_server_may_compress_from_elsewhere_on_or_never() {
    for (http_compression, encoding) in [
        (None, None),
        (Some(HttpCompression { threshold: 2001 }), None),
        (Some(HttpCompression { threshold: 2000 }), Some("gzip")),
    ] {
        let host = Host::echo(Config { http_compression, ..Config::default() }).await;
        let sid = host.open_polling().await;
        host.push(&sid, format!("4{}", text(1999))).await;
        assert_eq!(poll(&host, &sid, "gzip").await.encoding.as_deref(), encoding, "{http_compression:?}");
    }
}

#[tokio::test]
async fn an_answer_is_compressed_unless_nothing_in_it_may_be() {
    let mut server = Server::new(Config::default());
    server.namespace("/").on("say", async |event: Event| {
        let compress: Vec<bool> = event.data()?;
        for compress in compress {
            event.namespace().local().compress(compress).emit("said", text(2000))?;
        }
        Ok::<_, anyhow::Error>(())
    });
    let host = Host::of(server).await;
    let sid = host.open_polling().await;
    host.push(&sid, "40").await;
    host.poll(&sid).await;
    for (said, encoding) in
        [("[false]", None), ("[true]", Some("gzip")), ("[false,false]", None), ("[false,true]", Some("gzip"))]
    {
        host.push(&sid, format!(r#"42["say",{said}]"#)).await;
        host.settle().await;
        assert_eq!(poll(&host, &sid, "gzip").await.encoding.as_deref(), encoding, "{said}");
    }
}

/// An answer, its body as it was meant.
struct Decoded {
    head: String,
    encoding: Option<String>,
    body: Vec<u8>,
}

async fn poll(host: &Host, sid: &str, accept: &str) -> Decoded {
    let lines = format!("Accept-Encoding: {accept}\r\n");
    let mut stream = host.begin("GET", &host.poll_target(sid), &lines, "").await;
    let bytes = within(read_to_end(&mut stream)).await;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    let encoding = lines
        .filter(|(name, _)| name.eq_ignore_ascii_case("content-encoding"))
        .map(|(_, value)| value.to_owned())
        .next();
    let raw = &bytes[end + 4..];
    let mut body = Vec::new();
    match encoding.as_deref() {
        Some("gzip") => GzDecoder::new(raw).read_to_end(&mut body).unwrap(),
        Some("deflate") => ZlibDecoder::new(raw).read_to_end(&mut body).unwrap(),
        _ => {
            body.extend_from_slice(raw);
            0
        }
    };
    Decoded { head, encoding, body }
}

/// Text that is not all the same.
fn text(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + (at * at / 7 % 26) as u8)).collect()
}
