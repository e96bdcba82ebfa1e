//! Serving: who is unchoked, when.

use super::{Swarm, choker};
use crate::{PeerCommand, PeerKey};

impl Swarm {
    /// A peer wants something: it need not wait for the next round if there is room.
    pub(super) fn on_interested(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.interested_in_us = true;
        if peer.we_choke {
            let view = peer.choker_view(key);
            if self.choker.admits(&view, &self.choker_views(), self.guest_load()) {
                self.set_choke(key, false);
            }
        }
    }

    pub(super) fn on_not_interested(&mut self, key: PeerKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        peer.interested_in_us = false;
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

    /// A slot that a guest left, and no guest may have, goes to the peer that waits longest.
    pub(super) fn admit_peer(&mut self) {
        let views = self.choker_views();
        let waiting = views.iter().filter(|view| view.waits()).min_by_key(|view| view.since);
        if let Some(view) = waiting
            && self.choker.admits(view, &views, self.guest_load())
        {
            self.set_choke(view.key, false);
        }
    }

    fn set_choke(&mut self, key: PeerKey, choke: bool) {
        let now = self.now;
        let Some(peer) = self.peers.get_mut(&key) else { return };
        (peer.we_choke, peer.choke_changed_at, peer.served) = (choke, now, 0);
        self.command(key, PeerCommand::Choke(choke));
    }

    pub(super) fn choker_views(&self) -> Vec<choker::PeerView> {
        self.peers.iter().map(|(key, peer)| peer.choker_view(*key)).collect()
    }
}
