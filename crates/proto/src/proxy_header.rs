//! The PROXY protocol, versions 1 and 2: what a proxy says of its client before the client's first byte.
//!
//! Whether a connection begins with such a header is known beforehand and never guessed. Additional fields of version 2 are passed over, its checksum among
//! them. Specification: <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest header that is read; those of known proxies have at most some 600 bytes.
pub const BYTES_MAX: usize = 4096;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The connection is the proxy's own, as of a health check, or its client has no address: that of the connection counts.
    Local,
    /// The proxy relays a client.
    Client {
        /// The client's address.
        source: SocketAddr,
        /// The address that the client reached.
        target: SocketAddr,
    },
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeaderError {
    /// They do not begin as one.
    Missing,
    /// They begin as one, and break its rules.
    Malformed,
    /// It is longer than [`BYTES_MAX`].
    TooLong,
}

impl std::fmt::Display for ProxyHeaderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "expected a PROXY header, got something else",
            Self::Malformed => "malformed PROXY header",
            Self::TooLong => "PROXY header longer than 4096 bytes",
        })
    }
}

impl std::error::Error for ProxyHeaderError {}

impl ProxyHeader {
    /// Reads the header at the front of `bytes`, and how long it is; `None` while bytes are missing.
    ///
    /// # Errors
    ///
    /// [`ProxyHeaderError`]: the connection is to be closed without a word.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, ProxyHeaderError> {
        if begins(bytes, SIGNATURE) {
            return parse_binary(bytes);
        }
        if begins(bytes, b"PROXY ") {
            return parse_text(bytes);
        }
        Err(ProxyHeaderError::Missing)
    }

    /// Writes version 1: one line.
    #[must_use]
    pub fn to_text(&self) -> Vec<u8> {
        let Self::Client { source, target } = self else { return b"PROXY UNKNOWN\r\n".to_vec() };
        let (source, target) = alike(*source, *target);
        let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
        let (from, to) = (source.ip(), target.ip());
        format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), target.port()).into_bytes()
    }

    /// Writes version 2: binary.
    #[must_use]
    pub fn to_binary(&self) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        let Self::Client { source, target } = self else {
            bytes.extend([VERSION | LOCAL, 0, 0, 0]);
            return bytes;
        };
        let (source, target) = alike(*source, *target);
        match (source.ip(), target.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                bytes.extend([VERSION | PROXY, TCP4, 0, 12]);
                bytes.extend(from.octets());
                bytes.extend(to.octets());
            }
            (from, to) => {
                bytes.extend([VERSION | PROXY, TCP6, 0, 36]);
                bytes.extend(mapped(from).octets());
                bytes.extend(mapped(to).octets());
            }
        }
        bytes.extend(source.port().to_be_bytes());
        bytes.extend(target.port().to_be_bytes());
        bytes
    }
}

/// Whether bytes begin with a prefix, or may yet.
fn begins(bytes: &[u8], prefix: &[u8]) -> bool {
    let known = bytes.len().min(prefix.len());
    bytes[..known] == prefix[..known]
}

fn parse_text(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let line = &bytes[..bytes.len().min(TEXT_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if line.len() == TEXT_BYTES_MAX { Err(ProxyHeaderError::Malformed) } else { Ok(None) };
    };
    let read = |line: &[u8]| {
        let line = std::str::from_utf8(line.strip_suffix(b"\r")?).ok()?.strip_prefix("PROXY ")?;
        // Receivers take what follows UNKNOWN for nothing.
        if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
            return Some(ProxyHeader::Local);
        }
        let mut words = line.split(' ');
        let family = words.next()?;
        let (from, to): (IpAddr, IpAddr) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let (source, target) = (port(words.next()?)?, port(words.next()?)?);
        let fits = match family {
            "TCP4" => from.is_ipv4() && to.is_ipv4(),
            "TCP6" => from.is_ipv6() && to.is_ipv6(),
            _ => false,
        };
        (fits && words.next().is_none()).then_some(ProxyHeader::Client {
            source: SocketAddr::new(from, source),
            target: SocketAddr::new(to, target),
        })
    };
    read(&line[..end]).map(|header| Some((header, end + 1))).ok_or(ProxyHeaderError::Malformed)
}

/// A port in decimals, without a zero or a sign before it.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

fn parse_binary(bytes: &[u8]) -> Result<Option<(ProxyHeader, usize)>, ProxyHeaderError> {
    let Some((&[version, family, high, low], rest)) =
        bytes.get(SIGNATURE.len()..).and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = SIGNATURE.len() + 4 + length;
    if whole > BYTES_MAX {
        return Err(ProxyHeaderError::TooLong);
    }
    if version & 0xf0 != VERSION || version & 0x0f > PROXY {
        return Err(ProxyHeaderError::Malformed);
    }
    let Some(rest) = rest.get(..length) else { return Ok(None) };
    if version & 0x0f == LOCAL {
        return Ok(Some((ProxyHeader::Local, whole)));
    }
    let header = match family {
        TCP4 => client::<4>(rest, |ip| Ipv4Addr::from(ip).into()),
        TCP6 => client::<16>(rest, |ip| Ipv6Addr::from(ip).into()),
        // Unix sockets have no addresses that mean anything here.
        UNIX => (rest.len() >= 216).then_some(ProxyHeader::Local),
        UNSPECIFIED => Some(ProxyHeader::Local),
        _ => None,
    };
    header.map(|header| Some((header, whole))).ok_or(ProxyHeaderError::Malformed)
}

fn client<const N: usize>(bytes: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> Option<ProxyHeader> {
    let (from, rest) = bytes.split_first_chunk::<N>()?;
    let (to, rest) = rest.split_first_chunk::<N>()?;
    let (source, rest) = rest.split_first_chunk::<2>()?;
    let (target, _fields) = rest.split_first_chunk::<2>()?;
    Some(ProxyHeader::Client {
        source: SocketAddr::new(ip(*from), u16::from_be_bytes(*source)),
        target: SocketAddr::new(ip(*to), u16::from_be_bytes(*target)),
    })
}

/// Both addresses in one family: an IPv4 address is mapped into IPv6 where only one of them is.
fn alike(source: SocketAddr, target: SocketAddr) -> (SocketAddr, SocketAddr) {
    if source.is_ipv4() == target.is_ipv4() {
        return (source, target);
    }
    let wide = |address: SocketAddr| SocketAddr::new(mapped(address.ip()).into(), address.port());
    (wide(source), wide(target))
}

const fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const VERSION: u8 = 0x20;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const UNSPECIFIED: u8 = 0;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
/// Version 1: the longest line, with its end.
const TEXT_BYTES_MAX: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_are_in_order_are_read_and_written() {
        let client = |source: &str, target: &str| ProxyHeader::Client {
            source: source.parse().unwrap(),
            target: target.parse().unwrap(),
        };
        let four = client("192.0.2.7:50000", "198.51.100.1:443");
        let six = client("[2001:db8::7]:50000", "[::1]:443");
        for (bytes, expected) in [
            (&b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n"[..], four),
            (b"PROXY TCP6 2001:db8::7 ::1 50000 443\r\n", six),
            (b"PROXY UNKNOWN\r\n", ProxyHeader::Local),
            (b"PROXY UNKNOWN ffff::1 whatever\r\n", ProxyHeader::Local),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb", four),
            // Two bytes of additional fields.
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0e\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbbxx", four),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0", ProxyHeader::Local),
            (b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x03abc", ProxyHeader::Local),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\0\0\x01a", ProxyHeader::Local),
        ] {
            let length = bytes.len();
            assert_eq!(ProxyHeader::parse(bytes), Ok(Some((expected, length))), "{bytes:?}");
            // However it is cut, and whatever follows it.
            for end in 0..length {
                assert_eq!(ProxyHeader::parse(&bytes[..end]), Ok(None), "{end} of {bytes:?}");
            }
            let followed = [bytes, b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(ProxyHeader::parse(&followed), Ok(Some((expected, length))));
        }
        for header in [four, six, ProxyHeader::Local] {
            for written in [header.to_text(), header.to_binary()] {
                assert_eq!(ProxyHeader::parse(&written), Ok(Some((header, written.len()))));
            }
        }
        let mixed = client("192.0.2.7:1", "[::1]:2");
        let both = client("[::ffff:192.0.2.7]:1", "[::1]:2");
        assert_eq!(ProxyHeader::parse(&mixed.to_binary()).unwrap().unwrap().0, both);
        assert_eq!(ProxyHeader::parse(&mixed.to_text()).unwrap().unwrap().0, both);
    }

    #[test]
    fn what_is_no_header_is_refused_as_the_rows_say() {
        use ProxyHeaderError::{Malformed, Missing, TooLong};
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Missing),
            (b"PROXZ", Missing),
            (b"proxy TCP4", Missing),
            (b"\r\n\r\nX", Missing),
            (b"\x16\x03\x01", Missing),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443 1\r\n", Malformed),
            (b"PROXY TCP4  192.0.2.7 198.51.100.1 50000 443\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 050000 443\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n", Malformed),
            (b"PROXY TCP4 192.0.2.07 198.51.100.1 1 443\r\n", Malformed),
            (b"PROXY TCP4 ::1 ::1 1 443\r\n", Malformed),
            (b"PROXY TCP6 127.0.0.1 127.0.0.1 1 443\r\n", Malformed),
            (b"PROXY UDP4 127.0.0.1 127.0.0.1 1 443\r\n", Malformed),
            (b"PROXY UNKNOWNS\r\n", Malformed),
            (b"PROXY \r\n", Malformed),
            (&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 100]].concat(), Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0c", Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c", Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x01a", Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb", Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\x01a", Malformed),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", TooLong),
        ] {
            assert_eq!(ProxyHeader::parse(bytes), Err(expected), "{:?}", String::from_utf8_lossy(bytes));
        }
    }
}
