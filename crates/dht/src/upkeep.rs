//! What time asks for: finding nodes at the start, buckets that grow old, nodes that fell silent.

use proto::dht::Method;

use crate::Dht;
use crate::limits::{PEER_KEPT, TICK, TOKEN_SECRET_KEPT};
use crate::network::Goal;
use crate::requests::Purpose;
use crate::space::id_sharing;

impl Dht {
    pub(crate) fn tick(&mut self) {
        let now = self.now;
        self.tokens.tick(now, &mut self.chance);
        if now >= self.expire_at {
            self.expire_at = now + EXPIRE_EVERY;
            self.networks.iter_mut().for_each(|network| network.store.expire(now));
        }
        for at in 0..self.networks.len() {
            self.keep_up(at);
        }
        let bootstrap = self.networks.iter().map(|network| network.bootstrap_at()).min();
        self.tick_at = bootstrap.map_or(self.tick_at, |at| self.tick_at.min(at.max(now + SHORT)));
    }

    fn keep_up(&mut self, at: usize) {
        let now = self.now;
        let network = &mut self.networks[at];
        network.settle(now, &mut self.chance);
        let own = network.own();
        if network.due_bootstrap(now) {
            return self.look(at, own, Goal::Nodes);
        }
        if let Some(stale) = network.table.stalest(now)
            && !self.requests.is_asked(stale.addr)
        {
            self.ask(stale.addr, Some(stale.id), Purpose::Ping, Method::Ping);
        }
        // One at a time: there is no hurry.
        let looking = self.networks[at].running.values().any(|run| run.goal == Goal::Nodes);
        if looking {
            return;
        }
        if let Some(bits) = self.networks[at].table.due_refresh(now) {
            let target = id_sharing(own, bits, self.chance.bytes());
            self.look(at, target, Goal::Nodes);
        }
    }
}

/// How often peers that are gone are looked for.
const EXPIRE_EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// Ticks are at least that far apart.
const SHORT: std::time::Duration = std::time::Duration::from_secs(1);

const _: () = assert!(TICK.as_secs() < TOKEN_SECRET_KEPT.as_secs());
const _: () = assert!(EXPIRE_EVERY.as_secs() < PEER_KEPT.as_secs());
