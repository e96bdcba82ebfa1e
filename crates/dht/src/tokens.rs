//! Tokens: who shows one has received an answer of ours at that address, not long ago (BEP 5).

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use siphasher::sip::SipHasher24;

use crate::limits::TOKEN_SECRET_KEPT;
use chance::Secrets;

/// A token as it travels.
pub(crate) type Token = [u8; 8];

/// The secrets behind the tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    current: [u8; 16],
    previous: [u8; 16],
    changed_at: Instant,
}

impl Tokens {
    pub(crate) fn new(now: Instant, chance: &mut Secrets) -> Self {
        Self { current: chance.bytes(), previous: chance.bytes(), changed_at: now }
    }

    pub(crate) fn tick(&mut self, now: Instant, chance: &mut Secrets) {
        if now.duration_since(self.changed_at) >= TOKEN_SECRET_KEPT {
            self.previous = std::mem::replace(&mut self.current, chance.bytes());
            self.changed_at = now;
        }
    }

    pub(crate) fn of(&self, ip: IpAddr) -> Token {
        token(&self.current, ip)
    }

    pub(crate) fn accepts(&self, ip: IpAddr, shown: &[u8]) -> bool {
        [&self.current, &self.previous].into_iter().any(|secret| token(secret, ip) == *shown)
    }
}

fn token(secret: &[u8; 16], ip: IpAddr) -> Token {
    let mut hasher = SipHasher24::new_with_key(secret);
    ip.hash(&mut hasher);
    hasher.finish().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_counts_for_its_address_and_for_two_secrets() {
        let mut now = crate::test_now();
        let mut chance = Secrets::new([1; 16]);
        let mut tokens = Tokens::new(now, &mut chance);
        let (ip, other): (IpAddr, IpAddr) = ([1, 2, 3, 4].into(), [1, 2, 3, 5].into());
        let token = tokens.of(ip);
        assert!(tokens.accepts(ip, &token) && !tokens.accepts(other, &token));
        assert!(!tokens.accepts(ip, b"") && !tokens.accepts(ip, &token[..7]));
        now += TOKEN_SECRET_KEPT;
        tokens.tick(now, &mut chance);
        assert!(tokens.accepts(ip, &token) && tokens.of(ip) != token);
        now += TOKEN_SECRET_KEPT;
        tokens.tick(now, &mut chance);
        assert!(!tokens.accepts(ip, &token));
    }
}
