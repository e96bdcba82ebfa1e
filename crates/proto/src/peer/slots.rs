//! Places in the queue for an upload slot, `teem_slots` (`docs/protocols/slots.md`): whoever lets a peer wait
//! tells it how many of them come before it.

use crate::DecodeError;
use crate::reader::Reader;

/// A place in the queue for an upload slot, 1 the first. Nobody has queues beyond [`Place::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u32);

impl Place {
    /// The last place that is believed: more peers than anybody is connected to.
    pub const MAX: u32 = 100_000;

    /// That place, if there is such a one.
    #[must_use]
    pub fn new(place: usize) -> Option<Self> {
        let place = u32::try_from(place).ok()?;
        (1..=Self::MAX).contains(&place).then_some(Self(place))
    }

    /// As a number, 1 the first.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Reads the payload of `teem_slots`: four bytes, and what later versions add. `None` when the sender
    /// tells no place, or one that nobody can have.
    ///
    /// # Errors
    /// When it is cut.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        let place = Reader::new("place in a queue", payload).u32()?;
        Ok((1..=Self::MAX).contains(&place).then_some(Self(place)))
    }

    /// Appends the payload that tells this place, or that there is none to tell.
    pub fn encode(place: Option<Self>, out: &mut Vec<u8>) {
        out.extend_from_slice(&place.map_or(0, Self::get).to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(place: Option<Place>) -> Vec<u8> {
        let mut out = Vec::new();
        Place::encode(place, &mut out);
        out
    }

    #[test]
    fn a_place_is_four_bytes_and_what_comes_behind_them_is_for_later() {
        assert_eq!(encoded(Place::new(258)), [0, 0, 1, 2]);
        assert_eq!(encoded(None), [0, 0, 0, 0]);
        assert_eq!(Place::decode(&[0, 0, 0, 3, 9, 9]), Ok(Place::new(3)));
        for len in 0..4 {
            assert!(Place::decode(&[0, 0, 0, 1][..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn places_that_nobody_can_have_are_none() {
        assert_eq!(Place::decode(&[0; 4]), Ok(None));
        assert_eq!(Place::decode(&[0xff; 4]), Ok(None));
        assert_eq!(Place::decode(&(Place::MAX + 1).to_be_bytes()), Ok(None));
        assert_eq!(Place::decode(&Place::MAX.to_be_bytes()), Ok(Place::new(Place::MAX as usize)));
        assert_eq!(Place::new(0), None);
        assert_eq!(Place::new(usize::MAX), None);
    }

    proptest! {
        #[test]
        fn places_round_trip(place in 0..=Place::MAX as usize) {
            let place = Place::new(place);
            prop_assert_eq!(Place::decode(&encoded(place)), Ok(place));
        }

        #[test]
        fn any_bytes_decode_or_fail(bytes in prop::collection::vec(any::<u8>(), 0..9)) {
            let decoded = Place::decode(&bytes);
            prop_assert!(decoded.is_err() || decoded.is_ok_and(|p| p.is_none_or(|p| p.get() > 0)));
        }
    }
}
