//! Hashes that every edge computes alike, so that several of them send the same client to the same server. Not for tables whose keys strangers choose.

use std::net::IpAddr;

/// A number of 64 bits that depends on every byte: FNV-1a, then mixed.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    let folded = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(folded)
}

/// A number for a pair: of one key with another.
pub(crate) const fn pair(one: u64, other: u64) -> u64 {
    mix(one ^ mix(other))
}

/// The whole address.
pub(crate) fn address(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => of(&address.octets()),
        IpAddr::V6(address) => of(&address.octets()),
    }
}

/// The finish of SplitMix64: every bit of the input moves every bit of the output.
const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The steps of nginx's `ip_hash`: three octets of an IPv4 address, all sixteen of an IPv6 one.
pub(crate) struct IpHash {
    octets: [u8; 16],
    length: usize,
    hash: u32,
}

impl IpHash {
    pub(crate) fn new(address: IpAddr) -> Self {
        let mut octets = [0; 16];
        let length = match address.to_canonical() {
            IpAddr::V4(address) => {
                octets[..4].copy_from_slice(&address.octets());
                3
            }
            IpAddr::V6(address) => {
                octets = address.octets();
                16
            }
        };
        Self { octets, length, hash: 89 }
    }

    /// The number of the next try; nginx makes at most twenty and takes turns then.
    pub(crate) fn step(&mut self) -> u32 {
        for octet in &self.octets[..self.length] {
            self.hash = (self.hash * 113 + u32::from(*octet)) % 6271;
        }
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_octets_count_as_in_nginx() {
        // By hand: hash = (hash × 113 + octet) mod 6271, from 89 on, over 10, 1 and 2; then again from there.
        for address in ["10.1.2.3", "10.1.2.250"] {
            let mut hash = IpHash::new(address.parse().unwrap());
            assert_eq!([hash.step(), hash.step()], [2680, 4363], "{address}");
        }
        assert_ne!(
            IpHash::new("fd00::1".parse().unwrap()).step(),
            IpHash::new("fd00::2".parse().unwrap()).step()
        );
    }

    #[test]
    fn a_mapped_address_is_the_address() {
        let [plain, mapped] = ["10.1.2.3", "::ffff:10.1.2.3"].map(|text| text.parse().unwrap());
        assert_eq!(address(plain), address(mapped));
        assert_eq!(IpHash::new(plain).step(), IpHash::new(mapped).step());
    }

    #[test]
    fn keys_spread() {
        let mut seen = [0_u32; 4];
        for n in 0..4000_u32 {
            seen[(of(&n.to_le_bytes()) % 4) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
    }
}
