//! A name that is resolved again and again: its addresses, or its services with ports and weights.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::time::{Duration, Instant};

use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::{Resolver, TokioResolver};
use tracing::{debug, info, warn};

use crate::config::{DnsRecord, Endpoint, Server, ServerState};

/// What is asked, and of whom.
pub(super) struct Asked {
    name: String,
    record: DnsRecord,
    /// None: the name servers of the system.
    server: Option<SocketAddr>,
}

impl Asked {
    /// `NAME`, or `NAME@ADDRESS:PORT` of a name server.
    pub(super) fn new(text: &str, record: DnsRecord) -> Self {
        let at = text.split_once('@').and_then(|(name, server)| Some((name, server.parse().ok()?)));
        match at {
            Some((name, server)) => Self { name: name.to_owned(), record, server: Some(server) },
            None => Self { name: text.to_owned(), record, server: None },
        }
    }
}

/// Tells the servers who they are; `false` once there is nobody to tell.
pub(super) type Tell = Box<dyn Fn(Vec<Server>) -> bool + Send + Sync>;

/// Resolves until it is aborted, as it is when the servers are gone.
pub(super) async fn resolve(tell: Tell, name: Asked, every: Duration) {
    let mut last = None;
    let mut failed = false;
    let resolver = loop {
        match resolver(name.server) {
            Ok(resolver) => break resolver,
            Err(error) => warn!(name = name.name, %error, "no resolver: tried again"),
        }
        tokio::time::sleep(every.max(PAUSE_MIN)).await;
    };
    loop {
        // Asked anew: how long an answer holds is ours to keep.
        resolver.clear_cache();
        let mut pause = every;
        match ask(&resolver, &name).await {
            Ok((list, until)) => {
                failed = false;
                pause = every.min(until.saturating_duration_since(Instant::now()));
                if !list.is_empty() && last.as_ref() != Some(&list) {
                    info!(name = name.name, servers = list.len(), "name resolved");
                    if !tell(list.clone()) {
                        return;
                    }
                    last = Some(list);
                }
            }
            Err(error) if failed => debug!(name = name.name, %error, "name does not resolve"),
            Err(error) => {
                warn!(name = name.name, %error, "name does not resolve: the last servers stay");
                failed = true;
            }
        }
        tokio::time::sleep(pause.max(PAUSE_MIN)).await;
    }
}

/// Asks the named server, or those of the system.
fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let mut builder = match server {
        None => Resolver::builder_tokio()?,
        Some(server) => {
            let mut at = NameServerConfig::udp_and_tcp(server.ip());
            for connection in &mut at.connections {
                connection.port = server.port();
            }
            let config = ResolverConfig::from_parts(None, Vec::new(), vec![at]);
            Resolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
    };
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.timeout = ANSWER_TIME_MAX;
    builder.build()
}

/// The servers that a name stands for, and until when.
async fn ask(resolver: &TokioResolver, name: &Asked) -> Result<(Vec<Server>, Instant), NetError> {
    match name.record {
        DnsRecord::Address(port) => {
            let answer = resolver.lookup_ip(&*name.name).await?;
            let list = answer.iter().map(|address| server(SocketAddr::new(address, port), 1));
            Ok((settle(list), answer.valid_until()))
        }
        DnsRecord::Service => {
            let answer = resolver.srv_lookup(&*name.name).await?;
            let mut until = answer.valid_until();
            let mut services = Vec::new();
            for record in answer.answers() {
                if let RData::SRV(service) = &record.data {
                    services.push((service.priority, service.weight, service.port, service.target.clone()));
                }
            }
            // RFC 2782: of several priorities only the best is asked, while it can be reached.
            let best = services.iter().map(|(priority, ..)| *priority).min();
            services.retain(|(priority, ..)| Some(*priority) == best);
            let mut list = Vec::new();
            for (_, weight, port, target) in services.into_iter().take(SERVICES_MAX) {
                let addresses = resolver.lookup_ip(target).await?;
                until = until.min(addresses.valid_until());
                let addresses: Vec<IpAddr> = addresses.iter().collect();
                list.extend(
                    addresses.into_iter().map(|address| server(SocketAddr::new(address, port), weight)),
                );
            }
            Ok((settle(list.into_iter()), until))
        }
    }
}

/// In one order, whatever the order of the answer, and each once.
fn settle(list: impl Iterator<Item = Server>) -> Vec<Server> {
    let by_address: BTreeMap<Endpoint, Server> = list.map(|server| (server.at.clone(), server)).collect();
    by_address.into_values().collect()
}

fn server(address: SocketAddr, weight: u16) -> Server {
    Server {
        name: address.to_string(),
        at: Endpoint::Tcp(address),
        weight: NonZero::new(weight).unwrap_or(NonZero::<u16>::MIN),
        sessions_max: None,
        tag: None,
        state: ServerState::Up,
    }
}

/// The shortest pause between two questions, whatever the answers say.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// How long a name server may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// How many services of one name are looked at.
const SERVICES_MAX: usize = 256;
