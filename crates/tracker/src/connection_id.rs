//! UDP connection ids (BEP 15): they show that an asker gets what is sent to its address.
//!
//! An id is a keyed MAC (SipHash-2-4) over the asker's IP address and the current window of time, so
//! nothing is stored, and nobody without the key can make one. The last 16 bits of the window stand in
//! the id itself, the other 48 are the MAC's. An id is good in its own window and the next one: for
//! one to two minutes. The port is left out, since address translation may change it.

use std::hash::Hasher as _;
use std::net::IpAddr;

use registry::Secs;
use siphasher::sip::SipHasher24;

/// Length of a window in seconds.
const WINDOW_SECS: u32 = 60;

/// Makes and checks connection ids.
#[derive(Clone)]
pub(crate) struct ConnectionIds {
    key: [u8; 16],
}

impl ConnectionIds {
    /// All nodes that answer at one address need the same key.
    pub(crate) const fn new(key: [u8; 16]) -> Self {
        Self { key }
    }

    /// The id for an asker.
    pub(crate) fn issue(&self, now: Secs, ip: IpAddr) -> u64 {
        self.id_of(now.0 / WINDOW_SECS, ip)
    }

    /// Whether an id is good. Takes the same time whatever is wrong with it.
    pub(crate) fn is_good(&self, now: Secs, ip: IpAddr, id: u64) -> bool {
        let current = now.0 / WINDOW_SECS;
        let age = (current as u16).wrapping_sub((id >> 48) as u16);
        let window = current.wrapping_sub(u32::from(age & 1));
        // One bit for each way to be wrong, and no branch on any of them.
        let wrong = (self.id_of(window, ip) ^ id) | u64::from(age >> 1);
        std::hint::black_box(wrong) == 0
    }

    fn id_of(&self, window: u32, ip: IpAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        let mut message = [0; 21];
        message[..4].copy_from_slice(&window.to_le_bytes());
        match ip {
            IpAddr::V4(ip) => {
                message[4] = 4;
                message[5..9].copy_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                message[4] = 6;
                message[5..].copy_from_slice(&ip.octets());
            }
        }
        hasher.write(&message);
        u64::from(window as u16) << 48 | hasher.finish() >> 16
    }
}

impl std::fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionIds(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn id_is_good_for_two_windows() {
        let ids = ConnectionIds::new([5; 16]);
        for start in [0, 59, 60, 65_535 * 60, 65_536 * 60 + 30] {
            let id = ids.issue(Secs(start), IP);
            assert!(ids.is_good(Secs(start), IP, id));
            assert!(ids.is_good(Secs(start + 60), IP, id), "one window later");
            assert!(!ids.is_good(Secs(start + 120), IP, id), "expired");
            assert!(!ids.is_good(Secs(start + 65_536 * 60), IP, id), "the short window came again");
            if start >= 60 {
                assert!(!ids.is_good(Secs(start - 60), IP, id), "from the future");
            }
        }
    }

    #[test]
    fn id_is_good_for_one_address_and_key_only() {
        let ids = ConnectionIds::new([5; 16]);
        let id = ids.issue(Secs(100), IP);
        assert!(!ids.is_good(Secs(100), "192.0.2.2".parse().unwrap(), id));
        assert!(!ids.is_good(Secs(100), "::1".parse().unwrap(), id));
        assert!(!ConnectionIds::new([6; 16]).is_good(Secs(100), IP, id));
        for bit in 0..64 {
            assert!(!ids.is_good(Secs(100), IP, id ^ 1 << bit), "bit {bit}");
        }
    }
}
