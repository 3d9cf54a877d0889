//! The secret that the nodes of a cluster share, and how both ends of a connection show that they know it without saying it.
//!
//! Whoever dials sends [`MAGIC`] and 32 random bytes. Whoever accepts answers with 32 of its own and a code over both, whoever dials checks
//! it and sends a code of its own, and then its first request, without waiting. A code is HMAC-SHA256 of a word for the role and both nonces, so
//! that none can be played again or played back. Nothing here encrypts: what follows can be read, and changed, by whoever sits on the way.
//!
//! ```text
//! dials    53 49 4f 4c 49 4e 4b 31  nonce of 32 bytes        "SIOLINK1"
//! accepts  nonce of 32 bytes        code("accepts")
//! dials    code("dials")            HTTP/1.1 …
//! ```

use std::fmt;
use std::io;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How a connection between nodes begins: a name, and the version.
pub(crate) const MAGIC: [u8; 8] = *b"SIOLINK1";

/// The shortest secret, in bytes. One that people think up should be longer: whoever hears a connection begin can try words.
pub const SECRET_BYTES_MIN: usize = 16;

/// A secret. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected a secret of at least {SECRET_BYTES_MIN} bytes, got {0}: `openssl rand -hex 32` makes one")]
pub struct NoSecret(usize);

impl Secret {
    /// Takes a secret.
    ///
    /// # Errors
    ///
    /// Fails on one of less than [`SECRET_BYTES_MIN`] bytes.
    pub fn new(bytes: impl AsRef<[u8]>) -> Result<Self, NoSecret> {
        let bytes = bytes.as_ref();
        if bytes.len() < SECRET_BYTES_MIN {
            return Err(NoSecret(bytes.len()));
        }
        Ok(Self(bytes.into()))
    }

    /// Whether a text is this secret: a bearer's token, say. How long that takes tells nothing of where they differ.
    pub fn is(&self, text: &[u8]) -> bool {
        // Both are compared by their codes under the same key, which only this secret knows.
        let code = |text: &[u8]| {
            let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of HMAC has any length");
            mac.update(text);
            mac
        };
        code(text).verify(&code(&self.0).finalize().into_bytes()).is_ok()
    }

    /// Shows the other end of a connection that was dialled that one knows the secret, and has it show the same.
    pub(crate) async fn dial<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        let nonce = nonce()?;
        let mut opening = [0; MAGIC.len() + NONCE];
        opening[..MAGIC.len()].copy_from_slice(&MAGIC);
        opening[MAGIC.len()..].copy_from_slice(&nonce);
        stream.write_all(&opening).await?;
        let mut answer = [0; NONCE + CODE];
        if let Err(error) = stream.read_exact(&mut answer).await {
            let hung_up = error.kind() == io::ErrorKind::UnexpectedEof;
            return Err(if hung_up { denied("it is no node of this version") } else { error });
        }
        let (theirs, code) = answer.split_at(NONCE);
        self.check(ACCEPTS, &nonce, theirs, code)?;
        stream.write_all(&self.code(DIALS, &nonce, theirs)).await
    }

    /// The same for a connection that was accepted.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) -> io::Result<()> {
        let mut opening = [0; MAGIC.len() + NONCE];
        stream.read_exact(&mut opening).await?;
        let (magic, theirs) = opening.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(denied("it is no node of this version"));
        }
        let nonce = nonce()?;
        let mut answer = [0; NONCE + CODE];
        answer[..NONCE].copy_from_slice(&nonce);
        answer[NONCE..].copy_from_slice(&self.code(ACCEPTS, theirs, &nonce));
        stream.write_all(&answer).await?;
        let mut code = [0; CODE];
        stream.read_exact(&mut code).await?;
        self.check(DIALS, theirs, &nonce, &code)
    }

    fn code(&self, role: &[u8], dials: &[u8], accepts: &[u8]) -> [u8; CODE] {
        self.mac(role, dials, accepts).finalize().into_bytes().into()
    }

    /// Compares in constant time.
    fn check(&self, role: &[u8], dials: &[u8], accepts: &[u8], code: &[u8]) -> io::Result<()> {
        self.mac(role, dials, accepts).verify_slice(code).map_err(|_| denied("it has another secret"))
    }

    fn mac(&self, role: &[u8], dials: &[u8], accepts: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("a key of HMAC has any length");
        for part in [role, dials, accepts] {
            mac.update(part);
        }
        mac
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Bytes of a nonce.
const NONCE: usize = 32;

/// Bytes of a code.
const CODE: usize = 32;

/// What whoever dials puts before the nonces.
const DIALS: &[u8] = b"dials";

/// What whoever accepts puts before the nonces.
const ACCEPTS: &[u8] = b"accepts";

fn nonce() -> io::Result<[u8; NONCE]> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(io::Error::other)?;
    Ok(nonce)
}

fn denied(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::duplex;

    #[tokio::test]
    async fn two_that_know_the_secret_meet_and_others_do_not() {
        let (secret, other) = (Secret::new([7; 32]).unwrap(), Secret::new([8; 32]).unwrap());
        for (dials, accepts, meet) in
            [(&secret, &secret, true), (&secret, &other, false), (&other, &secret, false)]
        {
            let (mut near, mut far) = duplex(1024);
            // Whoever fails hangs up.
            let (dialled, accepted) = tokio::join!(async move { dials.dial(&mut near).await }, async move {
                accepts.accept(&mut far).await
            });
            assert_eq!((dialled.is_ok(), accepted.is_ok()), (meet, meet));
            if let Err(error) = dialled {
                assert_eq!(error.to_string(), "it has another secret");
            }
        }
    }

    #[tokio::test]
    async fn what_was_heard_before_opens_nothing() {
        let secret = Secret::new([7; 32]).unwrap();
        let nonces = [1; NONCE];
        // A code of an earlier connection, and that of the acceptor itself.
        for stolen in [secret.code(DIALS, &nonces, &nonces).to_vec(), Vec::new()] {
            let (mut near, mut far) = duplex(1024);
            let attack = async {
                near.write_all(&MAGIC).await.unwrap();
                near.write_all(&nonces).await.unwrap();
                let mut answer = [0; NONCE + CODE];
                near.read_exact(&mut answer).await.unwrap();
                let code = if stolen.is_empty() { answer[NONCE..].to_vec() } else { stolen };
                near.write_all(&code).await.unwrap();
            };
            let ((), accepted) = tokio::join!(attack, secret.accept(&mut far));
            assert_eq!(accepted.unwrap_err().to_string(), "it has another secret");
        }
    }

    #[test]
    fn a_code_is_what_the_document_says() {
        let secret = Secret::new("0123456789abcdef").unwrap();
        let hex: String =
            secret.code(DIALS, &[1; NONCE], &[2; NONCE]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b550b4e7a0fdaf866cf7b2e77c5a24943dc3186c357047f65289c33201e023a2");
    }

    #[test]
    fn a_secret_is_long_and_is_not_shown() {
        assert_eq!(Secret::new("short"), Err(NoSecret(5)));
        let secret = Secret::new("0123456789abcdef").unwrap();
        for (text, is) in [
            ("0123456789abcdef", true),
            ("0123456789abcdeF", false),
            ("", false),
            ("0123456789abcdef0", false),
        ] {
            assert_eq!(secret.is(text.as_bytes()), is, "{text}");
        }
        assert_eq!(format!("{:?}", Secret::new("0123456789abcdef").unwrap()), "Secret(…)");
    }
}
