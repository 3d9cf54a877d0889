//! TLS between the nodes of a cluster, in which both ends show a certificate.
//!
//! A node is who has a certificate of the cluster's authority; its name does not matter, since any node may have any session and they
//! reach each other by address. So that authority is to sign nodes and nothing else. TLS 1.3 alone, and each connection is looked at anew: nothing is resumed.
//!
//! Whoever dials would hear of a refused certificate only when it waits for an answer. So whoever accepts says eight bytes first, `SIOLINK1`,
//! and a request is sent when they have come.
//!
//! Absent: lists of revoked certificates, and certificates that are read again while a node runs.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, IpAddr, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::secret::MAGIC;
use crate::socket::Socket;

/// A node's certificate and key, and the authority that signs those of all nodes. Clones are the same one.
#[derive(Clone)]
pub struct NodeTls(Arc<Ends>);

struct Ends {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
    /// Why other nodes would not take this one's certificate, as it stood when it was read.
    unfit: Option<String>,
}

/// What no TLS can be made of.
#[derive(Debug, Error)]
pub enum NoTls {
    /// A file cannot be read.
    #[error("cannot read {path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is nothing of the kind in a PEM text.
    #[error("expected {expected} in PEM in {place}")]
    Pem {
        /// What should be there.
        expected: &'static str,
        /// Where: a file, or what it is for.
        place: String,
    },
    /// They do not fit together, or are of no known kind.
    #[error("the certificate, its key and the authority: {0}")]
    Unfit(String),
}

impl NodeTls {
    /// Reads PEM texts: the node's certificate (and what leads from it to the authority), its key, and the authorities' certificates.
    ///
    /// # Errors
    ///
    /// Fails where one of them is not there, and where the key is another certificate's.
    pub fn from_pem(certificate: &[u8], key: &[u8], ca: &[u8]) -> Result<Self, NoTls> {
        Self::of([(certificate, "the certificate"), (key, "the key"), (ca, "the authority's certificates")])
    }

    /// Reads the same from files, once.
    ///
    /// # Errors
    ///
    /// As [`NodeTls::from_pem`], and where a file cannot be read.
    pub fn from_files(certificate: &Path, key: &Path, ca: &Path) -> Result<Self, NoTls> {
        let read = |path: &Path| match fs::read(path) {
            Ok(text) => Ok((text, path.display().to_string())),
            Err(error) => Err(NoTls::File { path: path.to_owned(), error }),
        };
        let (certificate, key, ca) = (read(certificate)?, read(key)?, read(ca)?);
        Self::of([(&certificate.0, &certificate.1), (&key.0, &key.1), (&ca.0, &ca.1)])
    }

    fn of([certificate, key, ca]: [(&[u8], &str); 3]) -> Result<Self, NoTls> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(certificate)?;
        let absent = |_| NoTls::Pem { expected: "a private key", place: key.1.to_owned() };
        let key = PrivateKeyDer::from_pem_slice(key.0).map_err(absent)?;
        let mut roots = RootCertStore::empty();
        for root in certificates(ca)? {
            roots.add(root).map_err(unfit)?;
        }
        let roots = Arc::new(roots);
        let nodes = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let nodes = nodes.build().map_err(unfit)?;
        let unfit_now = chain.split_first().and_then(|(own, rest)| {
            let now = UnixTime::now();
            let accepts = Node::verify(&roots, &provider, own, rest, now).err();
            accepts.or(nodes.verify_client_cert(own, rest, now).err()).map(|error| error.to_string())
        });
        let acceptor = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?
            .with_client_cert_verifier(nodes)
            .with_single_cert(chain.clone(), key.clone_key());
        let mut acceptor = acceptor.map_err(unfit)?;
        acceptor.session_storage = Arc::new(NoServerSessionStorage {});
        acceptor.send_tls13_tickets = 0;
        let connector = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unfit)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Node { roots, provider }))
            .with_client_auth_cert(chain, key);
        let mut connector = connector.map_err(unfit)?;
        connector.resumption = Resumption::disabled();
        connector.enable_sni = false;
        Ok(Self(Arc::new(Ends {
            connector: Arc::new(connector).into(),
            acceptor: Arc::new(acceptor).into(),
            unfit: unfit_now,
        })))
    }

    /// Why other nodes would not take this node's certificate, as it stood when it was read: it has expired, say, or another authority has signed it.
    #[must_use]
    pub fn unfit(&self) -> Option<&str> {
        self.0.unfit.as_deref()
    }

    pub(crate) async fn dial(&self, stream: TcpStream) -> io::Result<Socket> {
        // Said to nobody, and not looked at: TLS wants one.
        let name = ServerName::IpAddress(IpAddr::from(stream.peer_addr()?.ip()));
        let mut stream = self.0.connector.connect(name, stream).await?;
        let mut greeting = [0; MAGIC.len()];
        stream.read_exact(&mut greeting).await?;
        if greeting != MAGIC {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is no node of this version"));
        }
        Ok(Socket::Tls(Box::new(TlsStream::Client(stream))))
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Socket> {
        let mut stream = self.0.acceptor.accept(stream).await?;
        stream.write_all(&MAGIC).await?;
        stream.flush().await?;
        Ok(Socket::Tls(Box::new(TlsStream::Server(stream))))
    }
}

fn certificates((text, place): (&[u8], &str)) -> Result<Vec<CertificateDer<'static>>, NoTls> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) | Err(_) => Err(NoTls::Pem { expected: "certificates", place: place.to_owned() }),
    }
}

fn unfit(error: impl fmt::Display) -> NoTls {
    NoTls::Unfit(error.to_string())
}

/// Takes any certificate of the authority, whatever its name.
#[derive(Debug)]
struct Node {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl Node {
    fn verify(
        roots: &RootCertStore,
        provider: &CryptoProvider,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let certificate = ParsedCertificate::try_from(certificate)?;
        let known = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&certificate, roots, intermediates, now, known)
    }
}

impl ServerCertVerifier for Node {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Self::verify(&self.roots, &self.provider, certificate, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("expected TLS 1.3".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for NodeTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NodeTls(…)")
    }
}

impl PartialEq for NodeTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for NodeTls {}
