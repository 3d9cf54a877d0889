//! The floor of a balancer that ends TLS: bare rustls between a client and its server, in one epoll set.
//!
//! As `relay`, it knows nothing of what it carries; what the other side does not take at once it waits for.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

/// A client, its server, and what lies between them.
struct Pair {
    client: TcpStream,
    server: TcpStream,
    tls: Box<ServerConnection>,
}

/// Carries every connection of the listener to an address, until the process is ended.
pub(crate) fn run(
    listener: &TcpListener,
    target: SocketAddr,
    certificate: &Path,
    key: &Path,
) -> anyhow::Result<()> {
    let config = config(certificate, key)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    // Each pair in a place; the last bit of an event's number tells whose it is.
    let mut pairs: Vec<Option<Pair>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    let mut scratch = vec![0; READ_BYTES];
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for &Event { data, .. } in &events {
            if data.u64() == LISTENER {
                while let Ok((client, _)) = listener.accept() {
                    let place = free.pop().unwrap_or_else(|| {
                        pairs.push(None);
                        pairs.len() - 1
                    });
                    let server = TcpStream::connect(target)?;
                    for (number, stream) in [(place * 2, &client), (place * 2 + 1, &server)] {
                        stream.set_nodelay(true)?;
                        stream.set_nonblocking(true)?;
                        epoll::add(&epoll, stream, EventData::new_u64(number as u64), EventFlags::IN)?;
                    }
                    let tls = Box::new(ServerConnection::new(Arc::clone(&config))?);
                    pairs[place] = Some(Pair { client, server, tls });
                }
                continue;
            }
            let number = usize::try_from(data.u64()).expect("a place");
            let Some(pair) = &mut pairs[number / 2] else { continue };
            let goes_on =
                if number.is_multiple_of(2) { pair.up(&mut scratch) } else { pair.down(&mut scratch) };
            if !goes_on.unwrap_or(false) {
                pairs[number / 2] = None;
                free.push(number / 2);
            }
        }
    }
}

impl Pair {
    /// From the client to the server; `false` once there is no more.
    fn up(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        match self.tls.read_tls(&mut self.client) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        }
        self.tls.process_new_packets().map_err(io::Error::other)?;
        self.flush()?;
        loop {
            match self.tls.reader().read(scratch) {
                Ok(0) => return Ok(false),
                Ok(count) => write_all(&mut self.server, &scratch[..count])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }

    /// From the server to the client.
    fn down(&mut self, scratch: &mut [u8]) -> io::Result<bool> {
        let count = match self.server.read(scratch) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        self.tls.writer().write_all(&scratch[..count])?;
        self.flush()?;
        Ok(true)
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.client) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(&self.client)?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn write_all(stream: &mut TcpStream, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(stream)?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait(stream: &TcpStream) -> io::Result<()> {
    rustix::event::poll(&mut [PollFd::new(stream, PollFlags::OUT)], None)?;
    Ok(())
}

/// Everything as rustls has it, but for tickets, of which the edge gives one.
fn config(certificate: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<Vec<_>, _>>()?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

const LISTENER: u64 = u64::MAX;
const EVENTS: usize = 256;
const READ_BYTES: usize = 64 * 1024;
