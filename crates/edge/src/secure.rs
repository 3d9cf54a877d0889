//! TLS on a client's connection, by rustls without its buffers: records are opened where the thread's buffer has them, so a connection that waits
//! holds its keys and no room to read into.
//!
//! Absent: which certificate is shown ([`tls`](crate::tls)), and what is said once it is encrypted.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use rustls::ServerConfig;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An encrypted connection. What was written has to be flushed.
pub(crate) struct Secure<S> {
    socket: S,
    tls: Box<UnbufferedServerConnection>,
    /// A record, or a message of the handshake, that has not come whole.
    part: Vec<u8>,
    /// Opened, but not read yet.
    plain: BytesMut,
    /// Sealed, but not taken by the socket yet.
    sealed: BytesMut,
    /// The client said that this is all.
    ended: bool,
    /// It was told the same.
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Secure<S> {
    /// Shakes hands with a client; `read` was read from it before.
    pub(crate) async fn accept(config: Arc<ServerConfig>, socket: S, mut read: BytesMut) -> io::Result<Self> {
        let tls = Box::new(UnbufferedServerConnection::new(config).map_err(io::Error::other)?);
        let (part, plain, sealed) = (Vec::new(), BytesMut::new(), BytesMut::new());
        let mut secure = Self { socket, tls, part, plain, sealed, ended: false, closed: false };
        let mut opened = secure.handle_bytes(&mut read, &mut ReadBuf::new(&mut []));
        drop(read);
        poll_fn(|cx| {
            loop {
                // Also of one that failed: the client is told why.
                let flushed = secure.poll_flush_sealed(cx);
                std::mem::replace(&mut opened, Ok(()))?;
                ready!(flushed)?;
                if !secure.tls.is_handshaking() {
                    return Poll::Ready(Ok::<(), io::Error>(()));
                }
                opened = ready!(secure.poll_open(cx, &mut ReadBuf::new(&mut [])));
            }
        })
        .await?;
        Ok(secure)
    }

    /// What is spoken, if the client and the listener agreed upon it.
    pub(crate) fn protocol(&self) -> Option<&[u8]> {
        self.tls.alpn_protocol()
    }

    /// Reads once, and opens what came: into `buf` as far as it goes.
    fn poll_open(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let room = scratch.len() - self.part.len();
            let mut piece = ReadBuf::new(&mut scratch[..room]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut piece))?;
            let piece = piece.filled_mut();
            if piece.is_empty() {
                // Nobody but the client itself can say that this is all.
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            Poll::Ready(self.handle_bytes(piece, buf))
        })
    }

    /// Opens what came, and keeps what is not whole.
    fn handle_bytes(&mut self, bytes: &mut [u8], buf: &mut ReadBuf<'_>) -> io::Result<()> {
        if self.part.is_empty() {
            let opened = self.open(bytes, buf)?;
            self.part = bytes[opened..].to_vec();
        } else {
            self.part.extend_from_slice(bytes);
            let mut records = std::mem::take(&mut self.part);
            let opened = self.open(&mut records, buf)?;
            if opened < records.len() {
                records.drain(..opened);
                self.part = records;
            }
        }
        if self.part.len() < SCRATCH_BYTES { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Opens records, and tells how long they were.
    fn open(&mut self, records: &mut [u8], buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut begin = 0;
        loop {
            let records = &mut records[begin..];
            let UnbufferedStatus { mut discard, state } = self.tls.process_tls_records(records);
            let blocked = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(broken)?;
                        discard += record.discard;
                        let fits = if self.plain.is_empty() { buf.remaining() } else { 0 };
                        let (now, later) = record.payload.split_at(record.payload.len().min(fits));
                        buf.put_slice(now);
                        self.plain.extend_from_slice(later);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut message)) => {
                    encode(&mut message, &mut self.sealed)?;
                    false
                }
                Ok(ConnectionState::TransmitTlsData(message)) => {
                    message.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.ended = true;
                    false
                }
                Ok(
                    ConnectionState::BlockedHandshake
                    | ConnectionState::WriteTraffic(_)
                    | ConnectionState::Closed,
                ) => true,
                // None is offered.
                Ok(ConnectionState::ReadEarlyData(_) | _) => return Err(io::ErrorKind::InvalidData.into()),
                Err(error) => {
                    let state = self.tls.process_tls_records(&mut records[discard..]).state;
                    if let Ok(ConnectionState::EncodeTlsData(mut alert)) = state {
                        encode(&mut alert, &mut self.sealed)?;
                    }
                    return Err(broken(error));
                }
            };
            begin += discard;
            if blocked {
                // Behind the end nothing is read.
                return Ok(if self.ended { begin + records.len() - discard } else { begin });
            }
        }
    }

    /// Lets somebody say something; tells how long that became. What rustls has to say first is sealed before.
    fn say(
        &mut self,
        mut what: impl FnMut(WriteTraffic<'_, ServerConnectionData>) -> Result<usize, EncryptError>,
    ) -> io::Result<usize> {
        loop {
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.part);
            let sealed = match state.map_err(broken)? {
                ConnectionState::WriteTraffic(traffic) => Some(what(traffic).map_err(io::Error::other)?),
                ConnectionState::EncodeTlsData(mut message) => {
                    encode(&mut message, &mut self.sealed)?;
                    None
                }
                ConnectionState::TransmitTlsData(message) => {
                    message.done();
                    None
                }
                ConnectionState::PeerClosed => {
                    self.ended = true;
                    None
                }
                // Nothing is whole of what is kept.
                ConnectionState::ReadTraffic(_)
                | ConnectionState::BlockedHandshake
                | ConnectionState::Closed
                | ConnectionState::ReadEarlyData(_)
                | _ => return Err(io::ErrorKind::BrokenPipe.into()),
            };
            self.part.drain(..discard);
            if let Some(sealed) = sealed {
                return Ok(sealed);
            }
        }
    }

    fn poll_flush_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.sealed.is_empty() {
            let written = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.sealed))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sealed.advance(written);
            if self.sealed.is_empty() {
                self.sealed = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Secure<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        loop {
            if !this.plain.is_empty() {
                let length = this.plain.len().min(buf.remaining());
                buf.put_slice(&this.plain[..length]);
                this.plain.advance(length);
                if this.plain.is_empty() {
                    this.plain = BytesMut::new();
                }
            }
            if this.ended || buf.filled().len() > before || buf.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            let opened = this.poll_open(cx, buf);
            // What rustls answers, such as an alert, is told without a wait for it.
            if let Poll::Ready(Err(error)) = this.poll_flush_sealed(cx) {
                return Poll::Ready(Err(error));
            }
            ready!(opened)?;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Secure<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_flush_sealed(cx))?;
        let some = &buf[..buf.len().min(SEALED_BYTES_MAX)];
        SCRATCH.with_borrow_mut(|scratch| {
            let length = this.say(|mut traffic| traffic.encrypt(some, scratch))?;
            let mut taken = 0;
            if this.sealed.is_empty()
                && let Poll::Ready(written) = Pin::new(&mut this.socket).poll_write(cx, &scratch[..length])
            {
                taken = written?;
            }
            this.sealed.extend_from_slice(&scratch[taken..length]);
            Poll::Ready(Ok(some.len()))
        })
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_flush_sealed(cx))?;
        Pin::new(&mut this.socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !std::mem::replace(&mut this.closed, true) {
            let mut room = [0; CLOSE_BYTES_MAX];
            // Of a connection that broke there is nobody to tell.
            let length = this.say(|mut traffic| traffic.queue_close_notify(&mut room)).unwrap_or(0);
            this.sealed.extend_from_slice(&room[..length]);
        }
        ready!(this.poll_flush_sealed(cx))?;
        match ready!(Pin::new(&mut this.socket).poll_shutdown(cx)) {
            // The client was faster.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

/// Writes a message of rustls' own behind what is sealed.
fn encode<D>(message: &mut EncodeTlsData<'_, D>, sealed: &mut BytesMut) -> io::Result<()> {
    let begin = sealed.len();
    let length = match message.encode(&mut []) {
        Ok(length) => length,
        Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
            sealed.resize(begin + required_size, 0);
            message.encode(&mut sealed[begin..]).map_err(io::Error::other)?
        }
        Err(error @ EncodeError::AlreadyEncoded) => return Err(io::Error::other(error)),
    };
    sealed.truncate(begin + length);
    Ok(())
}

fn broken(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// What one read takes, and so the most that is kept of what is not whole.
const SCRATCH_BYTES: usize = 64 * 1024;
/// What is sealed at once; with what is put around it, it fits into the scratch.
const SEALED_BYTES_MAX: usize = 48 * 1024;
/// A close_notify takes about 30 bytes, beside what was to be said before it.
const CLOSE_BYTES_MAX: usize = 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH_BYTES].into_boxed_slice());
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;

    #[tokio::test]
    async fn what_is_said_arrives_however_it_is_cut() {
        for version in rustls::ALL_VERSIONS {
            for (width, length) in [(37, 20_000), (5000, 100_000), (1 << 20, 100_000)] {
                let (mut client, mut server) = shaken(version, width).await;
                let said: Vec<u8> = (0..length).map(|n: u32| (n.wrapping_mul(n) >> 7) as u8).collect();
                let echo = async {
                    let mut heard = vec![0; said.len()];
                    server.read_exact(&mut heard).await.unwrap();
                    assert!(heard == said, "{version:?} {width}");
                    server.write_all(&heard).await.unwrap();
                    server.flush().await.unwrap();
                    assert_eq!(server.read(&mut heard).await.unwrap(), 0, "the client said so");
                    server.shutdown().await.unwrap();
                    assert!(is_small(&server));
                };
                let say = async {
                    let mut heard = vec![0; said.len()];
                    client.write_all(&said).await.unwrap();
                    client.flush().await.unwrap();
                    client.read_exact(&mut heard).await.unwrap();
                    assert!(heard == said, "{version:?} {width}");
                    client.shutdown().await.unwrap();
                    assert_eq!(client.read(&mut heard).await.unwrap(), 0, "the server said so");
                };
                tokio::join!(echo, say);
            }
        }
    }

    #[tokio::test]
    async fn keys_change_under_way() {
        let (mut client, mut server) = shaken(&rustls::version::TLS13, 100).await;
        let mut byte = [0];
        for said in *b"abc" {
            client.get_mut().1.refresh_traffic_keys().unwrap();
            let (say, hear) = tokio::join!(say(&mut client, said), server.read_exact(&mut byte));
            say.unwrap();
            hear.unwrap();
            assert_eq!(byte, [said]);
            let (echo, hear) = tokio::join!(say_back(&mut server, said), client.read_exact(&mut byte));
            echo.unwrap();
            hear.unwrap();
            assert_eq!(byte, [said]);
            assert!(is_small(&server), "what waits holds no buffer");
        }
    }

    #[tokio::test]
    async fn an_end_that_nobody_announced_is_an_error() {
        for version in rustls::ALL_VERSIONS {
            let (mut client, mut server) = shaken(version, 1 << 20).await;
            client.write_all(b"the first half").await.unwrap();
            client.flush().await.unwrap();
            drop(client.into_inner().0);
            let mut heard = Vec::new();
            let error = server.read_to_end(&mut heard).await.unwrap_err();
            assert_eq!((error.kind(), &heard[..]), (ErrorKind::UnexpectedEof, &b"the first half"[..]));
        }
    }

    #[tokio::test]
    async fn a_client_that_errs_is_told_so() {
        let (mut client, server) = duplex(1 << 20);
        let config = configs(&rustls::version::TLS13).0;
        // A hello that is none.
        let nonsense = BytesMut::from(&b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"[..]);
        let error = Secure::accept(config, server, nonsense).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        let mut alert = Vec::new();
        client.read_to_end(&mut alert).await.unwrap();
        assert_eq!(alert.first(), Some(&21), "RFC 8446 §5.1: an alert");
        let (mut client, mut server) = shaken(&rustls::version::TLS13, 1 << 20).await;
        client.get_mut().0.write_all(b"\x17\x03\x03\x00\x01\x00").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(client.read_u8().await.unwrap_err().kind(), ErrorKind::InvalidData);
    }

    async fn say(client: &mut TlsStream<DuplexStream>, byte: u8) -> io::Result<()> {
        client.write_all(&[byte]).await?;
        client.flush().await
    }

    async fn say_back(server: &mut Secure<DuplexStream>, byte: u8) -> io::Result<()> {
        server.write_all(&[byte]).await?;
        server.flush().await
    }

    fn is_small(server: &Secure<DuplexStream>) -> bool {
        server.part.capacity() + server.plain.capacity() + server.sealed.capacity() == 0
    }

    /// Both ends of a connection, that takes so many bytes at once, after their handshake.
    async fn shaken(
        version: &'static SupportedProtocolVersion,
        width: usize,
    ) -> (TlsStream<DuplexStream>, Secure<DuplexStream>) {
        let (ours, theirs) = (configs(version), duplex(width));
        let connector = TlsConnector::from(ours.1);
        let name = ServerName::try_from("a").unwrap();
        let accept = Secure::accept(ours.0, theirs.1, BytesMut::new());
        let (client, server) = tokio::join!(connector.connect(name, theirs.0), accept);
        (client.unwrap(), server.unwrap())
    }

    fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
        let own = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        // Nobody reads them while both still shake hands.
        server.send_tls13_tickets = 0;
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        (Arc::new(server), Arc::new(client))
    }
}
