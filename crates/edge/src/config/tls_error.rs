//! Why a listener cannot prove who it is.

use std::io;
use std::path::PathBuf;

/// Why certificates and keys cannot be used; each message is one line that a person can act on.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate at all.
    #[error("TLS needs a certificate and its key: name their files")]
    NoneGiven,
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    NotRead {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no certificate.
    #[error("no certificate in {}: expected PEM, beginning with -----BEGIN CERTIFICATE-----", .0.display())]
    NoCertificate(PathBuf),
    /// A file holds no key.
    #[error("no private key in {}: expected PEM, beginning with -----BEGIN PRIVATE KEY-----", .0.display())]
    NoKey(PathBuf),
    /// A key is encrypted, and nobody is asked for its passphrase.
    #[error("the key in {} is encrypted: write a plain one, readable by nobody else, with openssl pkey -in {} -out plain.key", path.display(), path.display())]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A key belongs to another certificate.
    #[error(
        "the key in {} does not belong to the first certificate in {}: name its own key, and put the server's certificate before the chain",
        key.display(), certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A file holds what cannot be used.
    #[error("{} cannot be used: {reason}", path.display())]
    NotUsable {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}
