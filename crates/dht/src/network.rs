//! One of the two networks (BEP 32): our id in it, its nodes, its peers, the lookups under way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

use proto::InfoHash;
use proto::dht::{NodeId, is_secure, secure_id};

use crate::external::External;
use crate::limits::{BOOTSTRAP_FIRST, BOOTSTRAP_MAX, ID_KEPT, K, ROOTS_MAX};
use crate::lookup::Lookup;
use crate::space::Family;
use crate::store::Store;
use crate::table::Table;
use chance::Secrets;

/// What a lookup is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Knowing nodes.
    Nodes,
    /// Finding peers, and announcing ourselves at that port.
    Peers { info_hash: InfoHash, announce: Option<u16> },
}

/// A lookup and what it is for.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) goal: Goal,
    pub(crate) lookup: Lookup,
    /// Announces that were sent and not answered; `None` while the lookup goes on.
    pub(crate) announcing: Option<usize>,
}

/// One network.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) family: Family,
    pub(crate) table: Table,
    pub(crate) store: Store,
    pub(crate) external: External,
    pub(crate) running: BTreeMap<u64, Running>,
    roots: Vec<SocketAddr>,
    /// When to start anew if there are too few nodes, and how long to wait the next time.
    bootstrap_at: Instant,
    bootstraps: u32,
    moved_at: Option<Instant>,
}

impl Network {
    pub(crate) fn new(now: Instant, family: Family, own: NodeId) -> Self {
        Self {
            family,
            table: Table::new(now, own),
            store: Store::default(),
            external: External::default(),
            running: BTreeMap::new(),
            roots: Vec::new(),
            bootstrap_at: now,
            bootstraps: 0,
            moved_at: None,
        }
    }

    pub(crate) const fn own(&self) -> NodeId {
        self.table.own()
    }

    /// One more address to start from; we do so at once, however many nodes we know.
    pub(crate) fn add_root(&mut self, now: Instant, root: SocketAddr) {
        if self.roots.len() < ROOTS_MAX && !self.roots.contains(&root) {
            self.roots.push(root);
            (self.bootstrap_at, self.bootstraps) = (now, 0);
        }
    }

    /// A lookup in this network.
    pub(crate) fn lookup(&self, target: NodeId) -> Lookup {
        Lookup::new(target, self.own(), self.table.seeds(target), self.roots.clone())
    }

    /// Whether it is time to look for nodes around us, because there are too few.
    pub(crate) fn due_bootstrap(&mut self, now: Instant) -> bool {
        if now < self.bootstrap_at {
            return false;
        }
        if self.bootstraps > 0 && self.table.good_len(now) >= K {
            (self.bootstrap_at, self.bootstraps) = (now + BOOTSTRAP_FIRST, 1);
            return false;
        }
        let wait = (BOOTSTRAP_FIRST * (1 << self.bootstraps.min(8))).min(BOOTSTRAP_MAX);
        self.bootstrap_at = now + wait;
        self.bootstraps += 1;
        // Nobody to ask: an address or a node has to come first.
        !self.roots.is_empty() || !self.table.seeds(self.own()).is_empty()
    }

    pub(crate) const fn bootstrap_at(&self) -> Instant {
        self.bootstrap_at
    }

    /// Takes an id that belongs to the address at which most see us, unless ours does (BEP 42). To be
    /// called again and again: an address that changed too soon counts later.
    pub(crate) fn settle(&mut self, now: Instant, chance: &mut Secrets) {
        let Some(ip) = self.external.known() else { return };
        let settled = self.moved_at.is_some_and(|at| now.duration_since(at) < ID_KEPT);
        if !settled && !is_secure(self.own(), ip) {
            self.moved_at = Some(now);
            self.table.move_to(now, secure_id(ip, chance.bytes()));
        }
    }
}
