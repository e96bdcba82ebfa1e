//! Answers to other nodes' questions, within what their senders may have.

use std::net::SocketAddr;

use proto::InfoHash;
use proto::dht::{
    Body, Contact, ErrorCode, MESSAGE_LEN_SENT, Message, Method, NODE_LEN_V4, NODE_LEN_V6, NodeId,
    Query, Reply, Want,
};

use crate::limits::{AMPLIFICATION_MAX, K};
use crate::space::{Family, may_name};
use crate::{Dht, Transmit};

impl Dht {
    /// Somebody asks, in `len` bytes.
    pub(crate) fn on_query(
        &mut self,
        at: usize,
        from: SocketAddr,
        len: usize,
        asked: &Message<'_>,
    ) {
        if self.read_only {
            return;
        }
        if !self.budget.admits(self.now, from.ip()) {
            self.refused += 1;
            return;
        }
        let body = match &asked.body {
            Body::Query(query) => {
                if !query.read_only {
                    self.note_asker(at, Contact { id: query.id, addr: from });
                }
                self.answer(at, from, query)
            }
            Body::Malformed(reason) => error(ErrorCode::Protocol, reason),
            Body::Reply(_) | Body::Error { .. } => return,
        };
        let bytes = match body {
            Answer::Body(body) => self.wrap(from, asked.transaction, body).encode(),
            // Whom we could not answer anyway costs no search of the table.
            Answer::Near(_) if !self.budget.covers(self.now, REPLY_LEN_MIN) => {
                self.refused += 1;
                return;
            }
            Answer::Near(near) => {
                let limit = self.limit(from, len);
                let token = near.info_hash.is_some().then(|| self.tokens.of(from.ip()));
                let token = token.as_ref().map(<[u8; 8]>::as_slice);
                let base = Reply { token, ..self.plain(at) };
                let empty = self.wrap(from, asked.transaction, Body::Reply(base.clone())).encode();
                debug_assert!(empty.len() >= REPLY_LEN_MIN);
                let room = limit.saturating_sub(empty.len() + OVERHEAD);
                let reply = self.near(at, from, base, room, near);
                self.wrap(from, asked.transaction, Body::Reply(reply)).encode()
            }
        };
        debug_assert!(bytes.len() <= MESSAGE_LEN_SENT);
        if bytes.len() > self.limit(from, len) || !self.budget.spend(self.now, bytes.len()) {
            self.refused += 1;
            return;
        }
        self.send(Transmit { to: from, bytes, is_answer: true });
    }

    /// Bytes that an answer may have.
    fn limit(&self, from: SocketAddr, len: usize) -> usize {
        if self.proven.contains(self.now, from.ip()) {
            MESSAGE_LEN_SENT
        } else {
            (AMPLIFICATION_MAX * len).min(MESSAGE_LEN_SENT)
        }
    }

    /// Who asks may be worth a place in the table.
    fn note_asker(&mut self, at: usize, asker: Contact) {
        if self.networks[at].table.on_query(self.now, asker) {
            self.acquaint(asker.addr);
        }
    }

    fn answer<'a>(&mut self, at: usize, from: SocketAddr, query: &Query<'_>) -> Answer<'a> {
        match query.method {
            Method::Ping => Answer::Body(Body::Reply(self.plain(at))),
            Method::FindNode { target, want } => {
                Answer::Near(Near { target, want, info_hash: None })
            }
            Method::GetPeers { info_hash, want } => {
                let target = NodeId(info_hash.0);
                Answer::Near(Near { target, want, info_hash: Some(info_hash) })
            }
            Method::AnnouncePeer { info_hash, port, token } => {
                self.on_announce(at, from, info_hash, port, token)
            }
            Method::Unknown => error(ErrorCode::MethodUnknown, "method unknown"),
        }
    }

    fn on_announce<'a>(
        &mut self,
        at: usize,
        from: SocketAddr,
        info_hash: InfoHash,
        port: Option<u16>,
        token: &[u8],
    ) -> Answer<'a> {
        if !self.tokens.accepts(from.ip(), token) {
            return error(ErrorCode::Protocol, "bad token");
        }
        self.proven.insert(self.now, from.ip());
        let peer = SocketAddr::new(from.ip(), port.unwrap_or_else(|| from.port()));
        let network = &mut self.networks[at];
        let own = network.own();
        if !network.store.insert(self.now, own, info_hash, peer) {
            return error(ErrorCode::Server, "no room");
        }
        Answer::Body(Body::Reply(self.plain(at)))
    }

    fn plain<'a>(&self, at: usize) -> Reply<'a> {
        Reply { id: self.networks[at].own(), ..Reply::default() }
    }

    /// Nodes near a target and peers of a swarm, as many as fit into `room` bytes: with peers there,
    /// nodes take half of it at most.
    fn near<'a>(
        &mut self,
        at: usize,
        from: SocketAddr,
        base: Reply<'a>,
        room: usize,
        near: Near,
    ) -> Reply<'a> {
        let (v4, v6) = if near.want == Want::default() {
            (from.is_ipv4(), from.is_ipv6())
        } else {
            (near.want.v4, near.want.v6)
        };
        let peer_len = if from.is_ipv4() { "6:".len() + 6 } else { "18:".len() + 18 };
        let mut peers = near.info_hash.map_or_else(Vec::new, |info_hash| {
            let store = &self.networks[at].store;
            store.sample(info_hash, from.ip(), room / peer_len, &mut self.chance)
        });
        let for_peers = (peers.len() * peer_len).min(room / 2);
        let mut left = room - for_peers;
        let mut nodes = |family, len: usize| {
            let nodes = self.told(family, from, near.target, K.min(left / len));
            left -= nodes.len() * len;
            nodes
        };
        let nodes4 = v4.then(|| nodes(Family::V4, NODE_LEN_V4));
        let nodes6 = v6.then(|| nodes(Family::V6, NODE_LEN_V6));
        peers.truncate((left + for_peers) / peer_len);
        Reply { nodes: nodes4, nodes6, peers, ..base }
    }

    /// Good nodes of a family that may be told to who asks.
    fn told(
        &self,
        family: Family,
        asker: SocketAddr,
        target: NodeId,
        count: usize,
    ) -> Vec<Contact> {
        let network = self.networks.iter().find(|network| network.family == family);
        let good = network.map(|network| network.table.good(self.now, target));
        let told = good
            .into_iter()
            .flatten()
            .filter(|contact| contact.addr != asker && may_name(asker.ip(), contact.addr));
        told.take(count).collect()
    }

    fn wrap<'a>(&self, to: SocketAddr, transaction: &'a [u8], body: Body<'a>) -> Message<'a> {
        Message { transaction, version: Some(self.version), observed: Some(to), body }
    }
}

/// What an answer is made of.
enum Answer<'a> {
    Body(Body<'a>),
    /// As many nodes and peers as fit.
    Near(Near),
}

/// What is near to an id.
struct Near {
    target: NodeId,
    want: Want,
    /// The swarm whose peers are wanted, too, and for which a token is given.
    info_hash: Option<InfoHash>,
}

fn error<'a>(code: ErrorCode, reason: &str) -> Answer<'a> {
    Answer::Body(Body::Error { code, reason: reason.to_owned() })
}

/// No reply is shorter: an id, and what stands around it.
const REPLY_LEN_MIN: usize = 60;
/// Names and lengths around nodes, nodes6 and values.
const OVERHEAD: usize = "5:nodes208:".len() + "6:nodes6304:".len() + "6:valuesle".len();
