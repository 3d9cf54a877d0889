//! Who may open a session, as a machine: how many, how fast, in all and from one address.
//!
//! A network of IPv6 (64 bits) counts as one address: its owner has all of it.

use crate::config::Config;
use crate::limit::Limit;
use crate::meter::Meter;
use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::{Duration, Instant};

/// How often a full table is searched for addresses that may be forgotten.
const SWEPT_EVERY: Duration = Duration::from_secs(1);

/// The rules of a server and what they remember.
#[derive(Debug)]
pub(crate) struct Gate {
    rules: Rules,
    sessions: u32,
    meter: Meter,
    addresses: HashMap<IpAddr, Address, RandomState>,
    swept: Option<Instant>,
}

/// What the settings say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    sessions_max: Option<NonZeroU32>,
    sessions_per_address_max: Option<NonZeroU32>,
    handshakes_per_second: Option<NonZeroU32>,
    handshakes_per_second_per_address: Option<NonZeroU32>,
    addresses_max: NonZeroUsize,
}

/// A client that was let in; given back to [`Gate::leave`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The address that it counts for.
    address: Option<IpAddr>,
}

#[derive(Debug, Default)]
struct Address {
    sessions: u32,
    meter: Meter,
}

impl Rules {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            sessions_max: config.sessions_max,
            sessions_per_address_max: config.sessions_per_address_max,
            handshakes_per_second: config.handshakes_per_second,
            handshakes_per_second_per_address: config.handshakes_per_second_per_address,
            addresses_max: config.addresses_max,
        }
    }

    /// Whether anybody may enter.
    pub(crate) fn are_none(&self) -> bool {
        self.sessions_max.is_none() && self.handshakes_per_second.is_none() && !self.look_at_addresses()
    }

    fn look_at_addresses(&self) -> bool {
        self.sessions_per_address_max.is_some() || self.handshakes_per_second_per_address.is_some()
    }
}

impl Gate {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, sessions: 0, meter: Meter::default(), addresses: HashMap::default(), swept: None }
    }

    /// Lets a client in. The second word is a limit that was met without keeping anybody out.
    ///
    /// # Errors
    /// The limit that keeps it out.
    pub(crate) fn enter(&mut self, peer: IpAddr, now: Instant) -> Result<(Entry, Option<Limit>), Limit> {
        let rules = self.rules;
        if rules.sessions_max.is_some_and(|max| self.sessions >= max.get()) {
            return Err(Limit::SessionsMax);
        }
        let (address, met) = self.place(peer, now);
        // An address is judged before all together: who is kept out must not use up what others may have.
        if let Some(place) = address.and_then(|address| self.addresses.get_mut(&address)) {
            if rules.sessions_per_address_max.is_some_and(|max| place.sessions >= max.get()) {
                return Err(Limit::SessionsPerAddressMax);
            }
            if rules.handshakes_per_second_per_address.is_some_and(|rate| !place.meter.take(rate, now)) {
                return Err(Limit::HandshakesPerSecondPerAddress);
            }
        }
        if rules.handshakes_per_second.is_some_and(|rate| !self.meter.take(rate, now)) {
            return Err(Limit::HandshakesPerSecond);
        }
        if let Some(place) = address.and_then(|address| self.addresses.get_mut(&address)) {
            place.sessions += 1;
        }
        self.sessions += 1;
        Ok((Entry { address }, met))
    }

    /// A client that was let in has left.
    pub(crate) fn leave(&mut self, entry: &Entry, now: Instant) {
        self.sessions -= 1;
        let Some(address) = entry.address else { return };
        if let Some(place) = self.addresses.get_mut(&address) {
            place.sessions -= 1;
            if place.is_idle(now) {
                self.addresses.remove(&address);
            }
        }
    }

    /// Finds the place of an address in the table. Where the table is full of busy ones, a stranger goes uncounted: the limits
    /// of all together still hold, and an attack from everywhere must not keep newcomers out.
    fn place(&mut self, peer: IpAddr, now: Instant) -> (Option<IpAddr>, Option<Limit>) {
        // Nobody told the address, as in a tower service without it.
        if !self.rules.look_at_addresses() || peer.is_unspecified() {
            return (None, None);
        }
        let address = network(peer);
        let max = self.rules.addresses_max.get();
        if !self.addresses.contains_key(&address) && self.addresses.len() >= max {
            if self.swept.is_none_or(|swept| now.duration_since(swept) >= SWEPT_EVERY) {
                self.swept = Some(now);
                self.addresses.retain(|_, place| !place.is_idle(now));
            }
            if self.addresses.len() >= max {
                return (None, Some(Limit::AddressesMax));
            }
        }
        self.addresses.entry(address).or_default();
        (Some(address), None)
    }
}

impl Address {
    fn is_idle(&self, now: Instant) -> bool {
        self.sessions == 0 && self.meter.is_rested(now)
    }
}

fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_keeps_out_under_its_name() {
        let some = NonZeroU32::new;
        let config = Config::default;
        for (config, peers, limit) in [
            (Config { sessions_max: some(2), ..config() }, ["::1", "::2", "::3"], Limit::SessionsMax),
            (
                Config { sessions_per_address_max: some(2), ..config() },
                // One network; the other one is not kept out.
                ["1:2:3:4::1", "1:2:3:4::2", "1:2:3:4::3"],
                Limit::SessionsPerAddressMax,
            ),
            (
                Config { handshakes_per_second: some(2), ..config() },
                ["::1", "::2", "::3"],
                Limit::HandshakesPerSecond,
            ),
            (
                Config { handshakes_per_second_per_address: some(2), ..config() },
                ["1.2.3.4", "::ffff:1.2.3.4", "1.2.3.4"],
                Limit::HandshakesPerSecondPerAddress,
            ),
        ] {
            let mut gate = Gate::new(Rules::new(&config));
            let now = Instant::now();
            let entries = peers.map(|peer| gate.enter(peer.parse().unwrap(), now));
            assert!(entries[0].is_ok() && entries[1].is_ok(), "{limit}");
            assert_eq!(entries[2], Err(limit));
            if config.sessions_max.is_none() && config.handshakes_per_second.is_none() {
                assert!(gate.enter("9.9.9.9".parse().unwrap(), now).is_ok(), "{limit}");
            }
            // Who leaves, or waits, makes room.
            let later = now + Duration::from_secs(1);
            let [Ok((first, _)), ..] = entries else { panic!("it was let in") };
            gate.leave(&first, later);
            assert!(gate.enter(peers[2].parse().unwrap(), later).is_ok(), "{limit}");
        }
    }

    #[test]
    fn a_full_table_forgets_the_idle_and_lets_strangers_pass_uncounted() {
        let config = Config {
            handshakes_per_second_per_address: NonZeroU32::new(1),
            addresses_max: const { NonZeroUsize::new(2).unwrap() },
            ..Config::default()
        };
        let mut gate = Gate::new(Rules::new(&config));
        let begin = Instant::now();
        let enter = |gate: &mut Gate, last: u8, seconds| {
            gate.enter(IpAddr::from([10, 0, 0, last]), begin + Duration::from_secs(seconds))
        };
        let (first, _) = enter(&mut gate, 1, 0).unwrap();
        assert_eq!(enter(&mut gate, 2, 0).unwrap().1, None);
        assert_eq!(enter(&mut gate, 3, 0).unwrap(), (Entry { address: None }, Some(Limit::AddressesMax)));
        gate.leave(&first, begin + Duration::from_secs(5));
        assert_eq!(enter(&mut gate, 3, 5).unwrap().1, None);
        assert_eq!(gate.addresses.len(), 2);
    }
}
