//! The three words for how a source stands to who wants something of it, and how many upload slots there are.
//!
//! The words are the same in both directions: what a peer is to us, and what we are to it. What they mean to
//! clients of the chunk protocol, who are no peers, stands beside them in `docs/protocols/slots.md`.

use std::fmt;

use proto::peer::Place;

use super::Swarm;
use super::peer::Peer;

/// Whether a source gives something to who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum UploadState {
    /// It gives: who wants something has a slot, or needs none, or would get one at once.
    Available,
    /// It is connected and busy with others: who wants something waits for a slot.
    Connected,
    /// Nothing comes from there now: it cannot be reached, refused us, was banned, or owes us what it
    /// promised.
    Unavailable,
}

impl UploadState {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Connected => "connected",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for UploadState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How one who wants something stands with one who may give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// In a word.
    pub state: UploadState,
    /// While waiting for a slot: the place in the queue, 1 the first, where that is known.
    pub place: Option<u32>,
}

/// The upload slots of a torrent. Peers of the local network need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slots {
    /// How many there are now.
    pub total: usize,
    /// How many are taken, those of guests too ([`super::GuestView`]). More than there are while those grow fewer.
    pub used: usize,
    /// Peers that wait for one.
    pub waiting: usize,
    /// Guests that wait for one.
    pub guests: usize,
}

impl Standing {
    const fn of(state: UploadState) -> Self {
        Self { state, place: None }
    }
}

impl Peer {
    /// How we stand with it; `None` when it has nothing that we want.
    pub(super) fn gives_us(&self) -> Option<Standing> {
        if !self.we_are_interested {
            return None;
        }
        Some(if self.window.is_snubbed() {
            Standing::of(UploadState::Unavailable)
        } else if !self.chokes_us {
            Standing::of(UploadState::Available)
        } else if self.web_seed {
            // A server has no queue: it is in trouble.
            Standing::of(UploadState::Unavailable)
        } else {
            Standing { state: UploadState::Connected, place: self.place.map(Place::get) }
        })
    }

    /// How it stands with us, in that place of our queue from 0; `None` when it wants nothing.
    pub(super) fn gets_from_us(&self, place: Option<usize>) -> Option<Standing> {
        if !self.interested_in_us {
            return None;
        }
        if !self.we_choke {
            return Some(Standing::of(UploadState::Available));
        }
        let place = place.and_then(|place| Place::new(place + 1)).map(Place::get);
        Some(Standing { state: UploadState::Connected, place })
    }
}

impl Swarm {
    /// The upload slots.
    #[must_use]
    pub fn slots(&self) -> Slots {
        let (views, guests) = (self.choker_views(), self.guest_load());
        Slots {
            total: self.choker.slots(),
            used: self.choker.used(&views, guests),
            waiting: views.iter().filter(|view| view.waits()).count(),
            guests: guests.waiting,
        }
    }
}
