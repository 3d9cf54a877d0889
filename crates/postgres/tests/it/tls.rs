//! TLS against a real server with a certificate of its own making.

use std::fs;
use std::sync::Arc;

use sockeye_cluster::adapter::{Adapter, AdapterError, Opening};
use sockeye_postgres::{Config, Postgres};

use crate::server::Server;

#[tokio::test]
async fn tls_is_spoken_as_sslmode_says() {
    let Some(server) = Server::start().await else { return };
    let made = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (own, other) = (made("127.0.0.1"), made("127.0.0.1"));
    // Before it has any: where it has to be it is refused, elsewhere done without.
    assert_eq!(speaks(&server, "sslmode=prefer").await, Ok(false));
    assert!(speaks(&server, "sslmode=require").await.is_err());

    server.set_tls(&own.cert.pem(), &own.signing_key.serialize_pem());
    server.restart().await;
    let file = |name: &str, text: String| {
        let path = server.directory().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (own, other) = (file("own.pem", own.cert.pem()), file("other.pem", other.cert.pem()));
    for (query, expected) in [
        ("", Some(true)),
        ("sslmode=disable", Some(false)),
        ("sslmode=prefer", Some(true)),
        ("sslmode=require", Some(true)),
        (&format!("sslmode=verify-full&sslrootcert={own}"), Some(true)),
        (&format!("sslmode=verify-full&sslrootcert={other}"), None),
        // The system's do not know it.
        ("sslmode=verify-full", None),
        ("sslmode=verify-full&sslrootcert=/nowhere", None),
    ] {
        assert_eq!(speaks(&server, query).await.ok(), expected, "{query}");
    }
}

/// Whether all of the adapter's connections speak TLS; the error where it cannot be opened.
async fn speaks(server: &Server, query: &str) -> Result<bool, AdapterError> {
    let query = format!("application_name=tls&{query}");
    let adapter = Postgres::new(Config::from_url(&server.url(query.trim_end_matches('&'))).unwrap());
    let opening = Opening { nsp: "/".into(), uid: "u".into(), inbox: Arc::new(|_| {}) };
    let channel = adapter.open(opening).await?;
    let client = server.client().await;
    let rows = client
        .query(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tls'",
            &[],
        )
        .await
        .unwrap();
    channel.close().await;
    let all: Vec<bool> = rows.iter().map(|row| row.get(0)).collect();
    assert!(!all.is_empty() && all.iter().all(|ssl| *ssl == all[0]), "{all:?}");
    Ok(all[0])
}
