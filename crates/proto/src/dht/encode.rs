//! Datagrams out.

use super::{Body, Message, Method, Query, Reply, Want, nodes};
use crate::bencode::{DictEncoder, ListEncoder};
use crate::compact::push;

impl Message<'_> {
    /// The datagram.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut root = DictEncoder::new();
        root.bytes(b"t", self.transaction);
        if let Some(version) = &self.version {
            root.bytes(b"v", version);
        }
        if let Some(addr) = self.observed {
            let mut packed = Vec::with_capacity(18);
            push(&mut packed, addr);
            root.bytes(b"ip", &packed);
        }
        match &self.body {
            Body::Query(query) => push_query(&mut root, query),
            // Nobody asks like that; the shape is kept so that it reads as what it was.
            Body::Malformed(_) => _ = root.bytes(b"y", b"q"),
            Body::Reply(reply) => _ = root.bytes(b"y", b"r").dict(b"r", &values(reply)),
            Body::Error { code, reason } => {
                let mut list = ListEncoder::new();
                list.int(code.number()).bytes(reason.as_bytes());
                root.bytes(b"y", b"e").list(b"e", list);
            }
        }
        root.finish()
    }
}

fn push_query(root: &mut DictEncoder, query: &Query<'_>) {
    let mut arguments = DictEncoder::new();
    arguments.bytes(b"id", query.id.as_bytes());
    let name: &[u8] = match &query.method {
        Method::Ping => b"ping",
        Method::FindNode { target, want } => {
            arguments.bytes(b"target", target.as_bytes());
            push_want(&mut arguments, *want);
            b"find_node"
        }
        Method::GetPeers { info_hash, want } => {
            arguments.bytes(b"info_hash", info_hash.as_bytes());
            push_want(&mut arguments, *want);
            b"get_peers"
        }
        Method::AnnouncePeer { info_hash, port, token } => {
            arguments.bytes(b"info_hash", info_hash.as_bytes()).bytes(b"token", token);
            arguments.int(b"implied_port", i64::from(port.is_none()));
            if let Some(port) = port {
                arguments.int(b"port", i64::from(*port));
            }
            b"announce_peer"
        }
        Method::Unknown => b"unknown",
    };
    root.bytes(b"y", b"q").bytes(b"q", name).dict(b"a", &arguments);
    if query.read_only {
        root.int(b"ro", 1);
    }
}

fn push_want(arguments: &mut DictEncoder, want: Want) {
    let families = [(want.v4, b"n4"), (want.v6, b"n6")];
    let mut list = ListEncoder::new();
    families.iter().filter(|(wanted, _)| *wanted).for_each(|(_, name)| _ = list.bytes(*name));
    if want != Want::default() {
        arguments.list(b"want", list);
    }
}

fn values(reply: &Reply<'_>) -> DictEncoder {
    let mut values = DictEncoder::new();
    values.bytes(b"id", reply.id.as_bytes());
    if let Some(nodes) = &reply.nodes {
        values.bytes(b"nodes", &nodes::pack(nodes));
    }
    if let Some(nodes) = &reply.nodes6 {
        values.bytes(b"nodes6", &nodes::pack(nodes));
    }
    if let Some(token) = reply.token {
        values.bytes(b"token", token);
    }
    if !reply.peers.is_empty() {
        let mut list = ListEncoder::new();
        let mut packed = Vec::with_capacity(18);
        for peer in &reply.peers {
            packed.clear();
            push(&mut packed, *peer);
            list.bytes(&packed);
        }
        values.list(b"values", list);
    }
    values
}
