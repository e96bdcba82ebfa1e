//! Serving: who is unchoked, when.

use proto::peer::Place;

use super::Swarm;
use super::choker::{self, Choker};
use crate::{PeerCommand, PeerKey};

impl Swarm {
    /// A peer wants something: it need not wait for the next round if there is room.
    pub(super) fn on_interested(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !std::mem::replace(&mut peer.interested_in_us, true) {
            peer.interested_at = self.now;
        }
        if peer.we_choke {
            let view = peer.choker_view(key);
            if self.choker.admits(&view, &self.choker_views(), self.guest_load()) {
                self.set_choke(key, false);
            }
        }
    }

    /// A peer wants nothing. Of a leecher that is often so for a moment only, and it goes on at once if it keeps its
    /// slot until the next round; what it would want of a seeder is all there, so it has that or gives up.
    pub(super) fn on_not_interested(&mut self, key: PeerKey) {
        let seeding = self.is_complete();
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let had_slot = std::mem::replace(&mut peer.interested_in_us, false) && !peer.we_choke;
        if !had_slot || !seeding {
            return;
        }
        // Or its slot would be two, once it wants something again.
        if self.choker_views().iter().any(choker::PeerView::waits) {
            self.set_choke(key, true);
        }
        self.admit_who_waits();
    }

    /// A slot may have become free: nobody waits for the next round.
    pub(super) fn admit_who_waits(&mut self) {
        self.admit_guests();
        self.admit_peer();
    }

    pub(super) fn choke_round(&mut self) {
        let views = self.choker_views();
        let (seeding, up_rate) = (self.is_complete(), self.up.per_second());
        let guests = self.guest_load();
        let chance = &mut self.chance;
        let chosen = self.choker.round(self.now, seeding, up_rate, &views, guests, chance);
        for view in views {
            let unchoke = chosen.contains(&view.key);
            if unchoke != view.unchoked {
                self.set_choke(view.key, !unchoke);
            }
        }
    }

    /// A slot that no guest may have goes to the first peer of the queue.
    fn admit_peer(&mut self) {
        let views = self.choker_views();
        let first = Choker::queue(self.now, self.is_complete(), &views).first().copied();
        if let Some(key) = first.filter(|_| self.choker.has_room(&views, self.guest_load())) {
            self.set_choke(key, false);
        }
    }

    /// Tells peers that wait for a slot in which place they are: those whose place has changed, each once a
    /// round at most.
    pub(super) fn tell_places(&mut self) {
        let round = self.choker.rounds();
        for (place, key) in self.queue().into_iter().enumerate() {
            let place = Place::new(place + 1);
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            let (told, at) = peer.place_told;
            if told != place && at != Some(round) {
                peer.place_told = (place, Some(round));
                self.command(key, PeerCommand::Place(place));
            }
        }
    }

    /// Peers that wait for a slot, in their order.
    pub(super) fn queue(&self) -> Vec<PeerKey> {
        Choker::queue(self.now, self.is_complete(), &self.choker_views())
    }

    /// It says in which place we wait. While it lets us download that means nothing.
    pub(super) fn on_place(&mut self, key: PeerKey, place: Option<Place>) {
        self.with(key, |peer| peer.place = place.filter(|_| peer.chokes_us));
    }

    fn set_choke(&mut self, key: PeerKey, choke: bool) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        (peer.we_choke, peer.choke_changed_at, peer.served) = (choke, now, 0);
        peer.place_told.0 = None;
        self.command(key, PeerCommand::Choke(choke));
    }

    pub(super) fn choker_views(&self) -> Vec<choker::PeerView> {
        self.peers.iter().map(|(key, peer)| peer.choker_view(*key)).collect()
    }
}
