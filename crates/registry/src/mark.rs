//! What is known of a peer beside its address and role, in 32 bits.

use crate::client::ClientClass;
use crate::time::Secs;

/// Under which of a swarm's two info hashes a peer announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Names(u8);

impl Names {
    /// The hash that the swarm is kept under: the v1 hash of a hybrid, the only hash of others.
    pub const FIRST: Self = Self(1);
    /// The other hash of a hybrid: its v2 hash.
    pub const SECOND: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    /// `None` for bits that mean nothing, or none at all.
    pub(crate) const fn from_bits(bits: u8) -> Option<Self> {
        if matches!(bits, 1..=3) { Some(Self(bits)) } else { None }
    }

    /// Any of `other` is among these.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// These and `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// None is left.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The unit of a stored expiry, in seconds.
const EXPIRY_UNIT_SECS: u32 = 4;
/// How long the feed stays silent about a peer that only announces again.
pub(crate) const EPOCH_SECS: u32 = 1_500;
/// Epochs are told apart by their number modulo this.
const EPOCHS: u32 = 4;

const EXPIRY_BITS: u32 = 16;
const CLASS_AT: u32 = 16;
const EPOCH_AT: u32 = 22;
const NAMES_AT: u32 = 24;
const REMOTE_AT: u32 = 26;

/// The 32 bits: expiry (16, in units of four seconds, wrapping), client class (6), the epoch of its
/// last entry in the feed (2), names (2), whether it came from another node (1). The role is told by
/// its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    pub(crate) expiry: Expiry,
    pub(crate) class: ClientClass,
    pub(crate) epoch: Epoch,
    pub(crate) names: Names,
    pub(crate) remote: bool,
}

impl Mark {
    pub(crate) fn pack(self) -> [u8; 4] {
        let bits = u32::from(self.expiry.0)
            | u32::from(self.class.number()) << CLASS_AT
            | u32::from(self.epoch.0) << EPOCH_AT
            | u32::from(self.names.0) << NAMES_AT
            | u32::from(self.remote) << REMOTE_AT;
        bits.to_le_bytes()
    }

    pub(crate) fn unpack(bytes: [u8; 4]) -> Self {
        let bits = u32::from_le_bytes(bytes);
        Self {
            expiry: Expiry((bits & ((1 << EXPIRY_BITS) - 1)) as u16),
            class: ClientClass::from_number((bits >> CLASS_AT & 63) as u8),
            epoch: Epoch((bits >> EPOCH_AT & 3) as u8),
            names: Names((bits >> NAMES_AT & 3) as u8),
            remote: bits >> REMOTE_AT & 1 == 1,
        }
    }
}

/// When a peer is forgotten. Wraps after three days, and every peer is looked at within minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Expiry(u16);

impl Expiry {
    /// `life_secs` after `now`, rounded up to the unit.
    pub(crate) const fn after(now: Secs, life_secs: u32) -> Self {
        let at = now.0.wrapping_add(life_secs);
        Self((at.div_ceil(EXPIRY_UNIT_SECS)) as u16)
    }

    pub(crate) const fn is_past(self, now: Secs) -> bool {
        self.left(now) == 0
    }

    /// Seconds until then, to the unit; 0 when it is past.
    pub(crate) const fn left(self, now: Secs) -> u32 {
        let units = self.0.wrapping_sub((now.0 / EXPIRY_UNIT_SECS) as u16) as i16;
        if units > 0 { units as u32 * EXPIRY_UNIT_SECS } else { 0 }
    }
}

/// A stretch of time in which a peer's renewals go into the feed once. It is longer than a quarter
/// of the longest life, so a peer cannot sleep through a whole round of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Epoch(u8);

impl Epoch {
    pub(crate) const fn of(now: Secs) -> Self {
        Self((now.0 / EPOCH_SECS % EPOCHS) as u8)
    }

    /// An epoch that is not that of `now`: what it marks is due.
    pub(crate) const fn not(now: Secs) -> Self {
        Self(((now.0 / EPOCH_SECS + EPOCHS - 1) % EPOCHS) as u8)
    }
}

// A peer that lives so long sees every epoch number at most once.
const _: () = assert!(EPOCH_SECS * (EPOCHS - 1) >= 4_500);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn mark_round_trips(expiry: u16, class in 0_u8..17, epoch in 0_u8..4, names in 0_u8..4, remote: bool) {
            let mark = Mark {
                expiry: Expiry(expiry),
                class: ClientClass::from_number(class),
                epoch: Epoch(epoch),
                names: Names(names),
                remote,
            };
            prop_assert_eq!(Mark::unpack(mark.pack()), mark);
        }

        #[test]
        fn expiry_is_exact_to_the_unit(now in 0_u32..u32::MAX / 2, life in 8_u32..10_000) {
            let expiry = Expiry::after(Secs(now), life);
            prop_assert!(!expiry.is_past(Secs(now)));
            prop_assert!(!expiry.is_past(Secs(now + life - 4)));
            prop_assert!(expiry.is_past(Secs(now + life + 4)));
        }
    }
}
