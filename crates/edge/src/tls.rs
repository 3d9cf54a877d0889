//! What proves to clients that this is the server that they asked for: certificates and keys from files, chosen by name.
//!
//! Absent: getting certificates from anybody, and asking clients for theirs.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::warn;

use crate::config::{Certificate, Tls, TlsError};

/// Reads the certificates and keys of a listener. `protocols` are offered by ALPN, the best first.
pub(crate) fn config(tls: &Tls, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let named: Result<Vec<Named>, TlsError> =
        tls.certificates.iter().map(|files| Named::read(files, &provider)).collect();
    let named = named?;
    if named.is_empty() {
        return Err(TlsError::NoneGiven);
    }
    let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Library(error.to_string()))?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Names(named)));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // Clients that come back skip half of the handshake, and nothing is kept for them here.
    config.ticketer =
        rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Library(error.to_string()))?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The certificates of one listener.
#[derive(Debug)]
struct Names(Vec<Named>);

/// One certificate with its key, and the names that it is for.
#[derive(Debug)]
struct Named {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Names {
    /// The one for this very name, else one for any name beside it, else the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name();
        let exact = |named: &&Named| {
            asked.is_some_and(|asked| named.names.iter().any(|name| name.eq_ignore_ascii_case(asked)))
        };
        let wild =
            |named: &&Named| asked.is_some_and(|asked| named.names.iter().any(|name| covers(name, asked)));
        let found = self.0.iter().find(exact).or_else(|| self.0.iter().find(wild)).or_else(|| self.0.first());
        found.map(|named| Arc::clone(&named.key))
    }
}

/// RFC 6125 §6.4.3: the asterisk stands for one label, the first.
fn covers(pattern: &str, name: &str) -> bool {
    let (Some(parent), Some((label, rest))) = (pattern.strip_prefix("*."), name.split_once('.')) else {
        return false;
    };
    !label.is_empty() && rest.eq_ignore_ascii_case(parent)
}

impl Certificate {
    /// Looks whether the files can be read and belong together, and does nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), TlsError> {
        Named::read(self, &rustls::crypto::aws_lc_rs::default_provider()).map(drop)
    }
}

impl Named {
    fn read(files: &Certificate, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let mut chain = certificates(&files.certificate)?;
        if let Some(rest) = &files.chain {
            chain.extend(certificates(rest)?);
        }
        let key = key(&files.key)?;
        let (names, is_old) = match names(&chain[0]) {
            Ok(names) => (names, false),
            // What `openssl x509 -req -signkey` makes, as old instructions print it: a server may show one.
            Err(webpki::Error::UnsupportedCertVersion) => (Vec::new(), true),
            Err(error) => {
                let reason = error.to_string();
                return Err(TlsError::NotUsable { path: files.certificate.clone(), reason });
            }
        };
        if names.is_empty() {
            warn!(certificate = %files.certificate.display(), "certificate without a DNS name: no client finds it by one");
        }
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsError::NotUsable { path: files.key.clone(), reason: error.to_string() })?;
        let key = CertifiedKey::new(chain, key);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(Self { names, key: Arc::new(key) })
            }
            Err(_) if is_old && holds_the_key(&key) => Ok(Self { names, key: Arc::new(key) }),
            Err(_) => {
                Err(TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() })
            }
        }
    }
}

/// Whether a certificate that cannot be parsed here has the public half of its key in it.
fn holds_the_key(key: &CertifiedKey) -> bool {
    let Some(public) = key.key.public_key() else { return true };
    key.cert.first().is_some_and(|own| own.windows(public.len()).any(|part| part == &public[..]))
}

fn names(certificate: &CertificateDer<'_>) -> Result<Vec<String>, webpki::Error> {
    let parsed = webpki::EndEntityCert::try_from(certificate)?;
    Ok(parsed.valid_dns_names().map(str::to_owned).collect())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found =
        found.map_err(|error| TlsError::NotUsable { path: path.to_owned(), reason: error.to_string() })?;
    if found.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(found) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(path)?;
    let says = |words: &[u8]| bytes.windows(words.len()).any(|part| part == words);
    if says(b"BEGIN ENCRYPTED PRIVATE KEY") || says(b"Proc-Type: 4,ENCRYPTED") {
        return Err(TlsError::EncryptedKey { path: path.to_owned() });
    }
    match PrivateKeyDer::from_pem_slice(&bytes) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey(path.to_owned())),
        Err(error) => Err(TlsError::NotUsable { path: path.to_owned(), reason: error.to_string() }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source: io::Error| TlsError::NotRead { path: PathBuf::from(path), source };
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_asterisk_stands_for_one_label() {
        for (pattern, name, expected) in [
            ("*.example.com", "io.example.com", true),
            ("*.example.com", "IO.Example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", ".example.com", false),
            ("example.com", "example.com", false),
            ("*", "example", false),
        ] {
            assert_eq!(covers(pattern, name), expected, "{name} by {pattern}");
        }
    }
}
