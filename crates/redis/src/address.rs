//! Addresses as text: which format, where Redis is, and every option.
//!
//! ```text
//! redis[s]://[user[:password]@]host[:port][,host[:port]…][/db][?option=value&…]
//! redis[s]+sharded://…
//! redis[s]+streams://…
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use sockeye_cluster::adapter::Adapter;
use thiserror::Error;

use crate::classic::{Classic, ClassicOptions};
use crate::server::{Kind, Server, Tls};
use crate::sharded::{Mode, Sharded, ShardedOptions};
use crate::streams::{Streams, StreamsOptions};

/// An address of one of the adapters, understood.
///
/// | scheme | adapter |
/// | --- | --- |
/// | `redis`, `rediss` (TLS) | [`Classic`] |
/// | `redis+sharded`, `rediss+sharded` | [`Sharded`] |
/// | `redis+streams`, `rediss+streams` | [`Streams`] |
///
/// Several hosts are servers of one Redis Cluster, or, with `?sentinel=<name of the master>`, sentinels. User and password are
/// percent-encoded.
///
/// | option | of | value |
/// | --- | --- | --- |
/// | `sentinel` | all | the name of the master: the hosts are sentinels (port 26379 unless it is named) |
/// | `cluster` | all | `true`: the one host is a server of a Redis Cluster |
/// | `tls_ca` | all | file with the certificates (PEM) of the authorities to trust instead of those of the system |
/// | `channel_prefix` | all | text, default `socket.io` |
/// | `specific_responses` | classic | `true` or `false` (default) |
/// | `mode` | sharded | `static`, `dynamic` (default), `dynamic-private` |
/// | `stream_name` | streams | text, default `socket.io` |
/// | `stream_count` | streams | 1 (default) to 1000 |
/// | `max_len` | streams | entries, default 10000 |
/// | `read_count` | streams | entries, default 100 |
/// | `block_ms` | streams | milliseconds, default 5000 |
/// | `session_key_prefix` | streams | text, default `sio:session:` |
/// | `sharded_pub_sub` | streams | `true` or `false` (default) |
#[derive(Clone, Debug)]
pub enum Address {
    /// `redis://`.
    Classic(Server, ClassicOptions),
    /// `redis+sharded://`.
    Sharded(Server, ShardedOptions),
    /// `redis+streams://`.
    Streams(Server, StreamsOptions),
}

/// An address that is none: what is wrong, and what to write instead. Never shows user and password.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{field}` is `{value}`: expected {expected}")]
pub struct AddressError {
    /// The part of the address, or the option.
    pub field: String,
    /// What was written there.
    pub value: String,
    /// What can be written there.
    pub expected: String,
}

impl Address {
    /// Makes the adapter; it connects when a channel is opened.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn into_adapter(self) -> Arc<dyn Adapter> {
        match self {
            Self::Classic(server, options) => Arc::new(Classic::new(server, options)),
            Self::Sharded(server, options) => Arc::new(Sharded::new(server, options)),
            Self::Streams(server, options) => Arc::new(Streams::new(server, options)),
        }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let schemes =
            "redis://, rediss://, redis+sharded://, rediss+sharded://, redis+streams:// or rediss+streams://";
        let (scheme, rest) = text.split_once("://").ok_or_else(|| wrong("scheme", "", schemes))?;
        let (base, format) = scheme.split_once('+').unwrap_or((scheme, "classic"));
        let tls = match base {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wrong("scheme", scheme, schemes)),
        };
        let (body, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut options = Options::read(query)?;
        let server = server(body, tls, &mut options)?;
        match format {
            "classic" => {
                let mut classic = ClassicOptions::default();
                options.text("channel_prefix", &mut classic.channel_prefix);
                options.parsed("specific_responses", "true or false", &mut classic.specific_responses)?;
                options.finish(&["channel_prefix", "specific_responses"])?;
                Ok(Self::Classic(server, classic))
            }
            "sharded" => {
                let mut sharded = ShardedOptions::default();
                options.text("channel_prefix", &mut sharded.channel_prefix);
                if let Some(mode) = options.take("mode") {
                    sharded.mode = match &*mode {
                        "static" => Mode::Static,
                        "dynamic" => Mode::Dynamic,
                        "dynamic-private" => Mode::DynamicPrivate,
                        _ => return Err(wrong("mode", &mode, "static, dynamic or dynamic-private")),
                    };
                }
                options.finish(&["channel_prefix", "mode"])?;
                Ok(Self::Sharded(server, sharded))
            }
            "streams" => Ok(Self::Streams(server, streams(options)?)),
            _ => Err(wrong("scheme", scheme, schemes)),
        }
    }
}

fn streams(mut options: Options) -> Result<StreamsOptions, AddressError> {
    let mut streams = StreamsOptions::default();
    options.text("channel_prefix", &mut streams.channel_prefix);
    options.text("stream_name", &mut streams.stream_name);
    options.text("session_key_prefix", &mut streams.session_key_prefix);
    options.number("stream_count", 1..=1000, &mut streams.stream_count)?;
    options.number("max_len", 1..=u64::MAX, &mut streams.max_len)?;
    options.number("read_count", 1..=1_000_000, &mut streams.read_count)?;
    let mut block = 5000_u64;
    options.number("block_ms", 1..=3_600_000, &mut block)?;
    streams.block = Duration::from_millis(block);
    options.parsed("sharded_pub_sub", "true or false", &mut streams.sharded_pub_sub)?;
    options.finish(&[
        "channel_prefix",
        "stream_name",
        "stream_count",
        "max_len",
        "read_count",
        "block_ms",
        "session_key_prefix",
        "sharded_pub_sub",
    ])?;
    Ok(streams)
}

fn server(body: &str, tls: bool, options: &mut Options) -> Result<Server, AddressError> {
    let (login, place) = body.rsplit_once('@').map_or((None, body), |(login, place)| (Some(login), place));
    let (hosts, db) = place.split_once('/').unwrap_or((place, ""));
    let sentinel = options.take("sentinel");
    let mut cluster = false;
    options.parsed("cluster", "true or false", &mut cluster)?;
    let default_port = if sentinel.is_some() { 26379 } else { 6379 };
    let addresses =
        hosts.split(',').map(|host| host_and_port(host, default_port)).collect::<Result<Vec<_>, _>>()?;
    let kind = match sentinel {
        Some(service) if service.is_empty() => {
            return Err(wrong("sentinel", "", "the name of the master, such as mymaster"));
        }
        Some(service) => Kind::Sentinel { service },
        None if cluster || addresses.len() > 1 => Kind::Cluster,
        None => Kind::Single,
    };
    let db = match db {
        "" => 0,
        digits => digits
            .parse()
            .ok()
            .filter(|db| *db >= 0)
            .ok_or_else(|| wrong("db", digits, "a number from 0 on"))?,
    };
    if kind == Kind::Cluster && db != 0 {
        return Err(wrong("db", &db.to_string(), "0, the only one that a Redis Cluster has"));
    }
    let (username, password) = match login {
        None => (None, None),
        Some(login) => {
            let (user, password) =
                login.split_once(':').map_or((login, None), |(user, rest)| (user, Some(rest)));
            let user = decoded("user", user)?;
            let password = password.map(|password| decoded("password", password)).transpose()?;
            ((!user.is_empty()).then_some(user), password)
        }
    };
    let ca = match options.take("tls_ca") {
        None => None,
        Some(file) if !tls => return Err(wrong("tls_ca", &file, "rediss:// before it, or no such option")),
        Some(file) => match std::fs::read(&file) {
            Ok(pem) => Some(pem),
            Err(error) => return Err(wrong("tls_ca", &file, &format!("a file that can be read ({error})"))),
        },
    };
    Ok(Server { addresses, kind, username, password, db, tls: tls.then_some(Tls { ca }) })
}

fn host_and_port(text: &str, default_port: u16) -> Result<(String, u16), AddressError> {
    let expected = "host, host:port or [address]:port";
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or_else(|| wrong("host", text, expected))?;
            (host, port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err(wrong("host", text, expected));
    }
    let port = match port {
        None => default_port,
        Some(digits) => {
            let port = digits.parse().ok().filter(|port| *port != 0);
            port.ok_or_else(|| wrong("port", digits, "a number from 1 to 65535"))?
        }
    };
    Ok((host.to_owned(), port))
}

/// The options that have not been taken yet.
struct Options(Vec<(String, String)>);

impl Options {
    fn read(query: &str) -> Result<Self, AddressError> {
        let mut options: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decoded("option", name)?, decoded(name, value)?);
            if options.iter().any(|(other, _)| *other == name) {
                return Err(wrong(&name, &value, "it once"));
            }
            options.push((name, value));
        }
        Ok(Self(options))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(other, _)| other == name)?;
        Some(self.0.remove(at).1)
    }

    fn text(&mut self, name: &str, place: &mut String) {
        if let Some(value) = self.take(name) {
            *place = value;
        }
    }

    fn parsed<T: FromStr>(&mut self, name: &str, expected: &str, place: &mut T) -> Result<(), AddressError> {
        if let Some(value) = self.take(name) {
            *place = value.parse().map_err(|_| wrong(name, &value, expected))?;
        }
        Ok(())
    }

    fn number<T>(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<T>,
        place: &mut T,
    ) -> Result<(), AddressError>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        if let Some(value) = self.take(name) {
            let number = value.parse().ok().filter(|number| range.contains(number));
            let expected = || format!("a number from {} to {}", range.start(), range.end());
            *place = number.ok_or_else(|| wrong(name, &value, &expected()))?;
        }
        Ok(())
    }

    /// What is left is unknown.
    fn finish(self, known: &[&str]) -> Result<(), AddressError> {
        match self.0.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => Err(wrong(
                "option",
                &name,
                &format!("one of sentinel, cluster, tls_ca, {}", known.join(", ")),
            )),
        }
    }
}

fn decoded(field: &str, text: &str) -> Result<String, AddressError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| wrong(field, "…", "UTF-8, percent-encoded"))
}

fn wrong(field: &str, value: &str, expected: &str) -> AddressError {
    AddressError { field: field.into(), value: value.into(), expected: expected.into() }
}
