//! Node ids that belong to addresses (BEP 42): who has few addresses has few places in the table.

use std::net::IpAddr;

use super::NodeId;
use crate::address::is_local;

/// An id that a node at `ip` may have; `random` fills what is free.
#[must_use]
pub fn secure_id(ip: IpAddr, random: [u8; 20]) -> NodeId {
    let mut id = random;
    let prefix = prefix(ip, random[19]);
    id[0] = (prefix >> 24) as u8;
    id[1] = (prefix >> 16) as u8;
    id[2] = (prefix >> 8) as u8 & 0xf8 | random[2] & 0x07;
    NodeId(id)
}

/// Whether a node at `ip` may have that id. Addresses of local networks may have any.
#[must_use]
pub fn is_secure(id: NodeId, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    is_local(ip) || secure_id(ip, id.0) == id
}

/// The first bits of an id, of which 21 count.
fn prefix(ip: IpAddr, random: u8) -> u32 {
    const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
    const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
    let seed = (random & 0x07) << 5;
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let mut bytes = ip.octets();
            bytes.iter_mut().zip(MASK_V4).for_each(|(byte, mask)| *byte &= mask);
            bytes[0] |= seed;
            crc32c(&bytes)
        }
        IpAddr::V6(ip) => {
            let octets = ip.octets();
            let mut bytes: [u8; 8] = std::array::from_fn(|at| octets[at] & MASK_V6[at]);
            bytes[0] |= seed;
            crc32c(&bytes)
        }
    }
}

/// CRC-32C (Castagnoli), bit by bit: few bytes are hashed here, and in BEP 40.
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { POLYNOMIAL ^ (crc >> 1) } else { crc >> 1 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_checksum_is_the_well_known_one() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The table of BEP 42: address, last byte, id.
    #[test]
    fn ids_are_those_of_the_specification() {
        for (addr, last, id) in [
            ("124.31.75.21", 1, "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", 86, "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", 22, "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", 65, "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", 90, "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let id: NodeId = id.parse().expect("an id");
            assert_eq!(id.0[19], last);
            assert!(is_secure(id, ip(addr)), "{addr}");
            assert!(is_secure(id, ip(&format!("::ffff:{addr}"))), "{addr} in IPv6 clothing");
            assert!(!is_secure(id, ip("8.8.8.8")));
            let mut other = id;
            other.0[1] ^= 1;
            assert!(!is_secure(other, ip(addr)));
            let mut free = id;
            free.0[2] ^= 0x07;
            free.0[10] ^= 0xff;
            assert!(is_secure(free, ip(addr)), "only 21 bits and the last byte are bound");
        }
    }

    #[test]
    fn what_is_made_is_accepted_in_both_families() {
        for (addr, other) in
            [("203.0.113.7", "203.0.114.8"), ("2001:db8:1:2::3", "2001:db9:ffff::3")]
        {
            for last in 0..=255 {
                let id = secure_id(ip(addr), [last; 20]);
                assert!(is_secure(id, ip(addr)));
                assert!(!is_secure(id, ip(other)));
            }
        }
    }

    #[test]
    fn local_networks_may_have_any_id() {
        for addr in ["10.0.0.1", "172.16.5.5", "192.168.1.1", "169.254.1.1", "127.0.0.9", "::1"] {
            assert!(is_secure(NodeId([7; 20]), ip(addr)), "{addr}");
        }
    }
}
