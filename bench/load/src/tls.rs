//! The client's half of TLS, for servers whose certificate was made for the benchmark: none is checked.

use std::cell::RefCell;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

/// Whether connections are encrypted; settled once, at the start.
static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();

/// From here on every connection is encrypted. A session is never resumed, so that each handshake costs the same.
pub(crate) fn begin() -> anyhow::Result<()> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    CONFIG.get_or_init(|| Arc::new(config));
    Ok(())
}

/// One connection's TLS.
pub(crate) struct Tls(RefCell<Box<ClientConnection>>);

impl Tls {
    /// The handshake, on a socket that still blocks; nothing where connections are not encrypted.
    pub(crate) fn open(socket: &OwnedFd) -> anyhow::Result<Option<Self>> {
        let Some(config) = CONFIG.get() else { return Ok(None) };
        let name = ServerName::try_from("localhost")?;
        let mut connection = Box::new(ClientConnection::new(Arc::clone(config), name)?);
        connection.complete_io(&mut Fd(socket)).context("the TLS handshake")?;
        Ok(Some(Self(RefCell::new(connection))))
    }

    pub(crate) fn send(&self, socket: &OwnedFd, bytes: &[u8]) -> anyhow::Result<()> {
        let mut connection = self.0.borrow_mut();
        connection.writer().write_all(bytes)?;
        while connection.wants_write() {
            connection.write_tls(&mut Fd(socket)).context("cannot send to the server")?;
        }
        Ok(())
    }

    /// All that has come, into the front of `into`.
    pub(crate) fn read(&self, socket: &OwnedFd, into: &mut [u8]) -> anyhow::Result<usize> {
        let mut connection = self.0.borrow_mut();
        match connection.read_tls(&mut Fd(socket)) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error).context("the server dropped a connection"),
        }
        connection.process_new_packets()?;
        let mut count = 0;
        loop {
            match connection.reader().read(&mut into[count..]) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(some) => count += some,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

struct Fd<'a>(&'a OwnedFd);

impl io::Read for Fd<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, into)?)
    }
}

impl io::Write for Fd<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes whatever is shown for what was asked for.
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
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
