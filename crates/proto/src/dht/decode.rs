//! Datagrams in.

use super::{
    Body, ErrorCode, MESSAGE_LEN_MAX, Message, Method, NODE_LEN_V4, NODE_LEN_V6, NodeId, Query,
    REASON_LEN_MAX, Reply, TOKEN_LEN_MAX, TRANSACTION_LEN_MAX, WHAT, Want, nodes,
};
use crate::bencode::{self, Form, Limits, Value};
use crate::compact::address;
use crate::{DecodeError, InfoHash};

/// A reply full of peers has some 350 values; nothing is nested deeper than four.
const LIMITS: Limits = Limits {
    what: WHAT,
    len_max: MESSAGE_LEN_MAX,
    depth_max: 8,
    values_max: 1024,
    form: Form::Lenient,
};

impl<'a> Message<'a> {
    /// Reads a datagram.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let document = bencode::decode(bytes, &LIMITS)?;
        let root = document.root();
        let transaction = field(root, b"t")?;
        if transaction.len() > TRANSACTION_LEN_MAX {
            return Err(DecodeError::TooLong { what: WHAT, limit: TRANSACTION_LEN_MAX as u64 });
        }
        let body = match field(root, b"y")? {
            b"q" => query(root).map_or_else(Body::Malformed, Body::Query),
            b"r" => Body::Reply(reply(root)?),
            b"e" => error(root),
            _ => return Err(DecodeError::invalid(WHAT, "neither query, reply nor error")),
        };
        let bytes = |key: &[u8]| root.get(key).and_then(Value::bytes);
        Ok(Self {
            transaction,
            version: bytes(b"v").and_then(|version| version.try_into().ok()),
            observed: bytes(b"ip").and_then(address),
            body,
        })
    }
}

fn field<'a>(root: Value<'a, '_>, key: &[u8]) -> Result<&'a [u8], DecodeError> {
    let missing = DecodeError::invalid(WHAT, "transaction id or kind is missing");
    root.get(key).and_then(Value::bytes).ok_or(missing)
}

/// A question, or what is wrong with it.
fn query<'a>(root: Value<'a, '_>) -> Result<Query<'a>, &'static str> {
    let method = root.get(b"q").and_then(Value::bytes).ok_or("the method is missing")?;
    let arguments = root.get(b"a").ok_or("the arguments are missing")?;
    let bytes = |key: &[u8]| arguments.get(key).and_then(Value::bytes);
    let number = |key: &[u8]| arguments.get(key).and_then(Value::int);
    let id = bytes(b"id").and_then(node_id).ok_or("the id is not 20 bytes long")?;
    let want = wanted(arguments.get(b"want"));
    let info_hash = || {
        let hash = bytes(b"info_hash").and_then(|hash| <[u8; 20]>::try_from(hash).ok());
        hash.map(InfoHash).ok_or("the info hash is not 20 bytes long")
    };
    let method = match method {
        b"ping" => Method::Ping,
        b"find_node" => {
            let target = bytes(b"target").and_then(node_id);
            Method::FindNode { target: target.ok_or("the target is not 20 bytes long")?, want }
        }
        b"get_peers" => Method::GetPeers { info_hash: info_hash()?, want },
        b"announce_peer" => {
            let implied = number(b"implied_port").is_some_and(|flag| flag != 0);
            let port = number(b"port").and_then(|port| u16::try_from(port).ok());
            let port = port.filter(|port| *port != 0);
            if !implied && port.is_none() {
                return Err("the port is missing");
            }
            let token = bytes(b"token").filter(|token| token.len() <= TOKEN_LEN_MAX);
            let token = token.ok_or("the token is missing")?;
            Method::AnnouncePeer { info_hash: info_hash()?, port: port.filter(|_| !implied), token }
        }
        _ => Method::Unknown,
    };
    let read_only = root.get(b"ro").and_then(Value::int).is_some_and(|flag| flag != 0);
    Ok(Query { id, read_only, method })
}

fn node_id(bytes: &[u8]) -> Option<NodeId> {
    bytes.try_into().ok().map(NodeId)
}

fn wanted(list: Option<Value<'_, '_>>) -> Want {
    let mut want = Want::default();
    for item in list.and_then(Value::list).into_iter().flatten() {
        match item.bytes() {
            Some(b"n4") => want.v4 = true,
            Some(b"n6") => want.v6 = true,
            Some(_) | None => {}
        }
    }
    want
}

fn reply<'a>(root: Value<'a, '_>) -> Result<Reply<'a>, DecodeError> {
    let values = root.get(b"r").ok_or(DecodeError::invalid(WHAT, "a reply without values"))?;
    let bytes = |key: &[u8]| values.get(key).and_then(Value::bytes);
    let id = bytes(b"id").and_then(node_id);
    let token = bytes(b"token");
    if token.is_some_and(|token| token.len() > TOKEN_LEN_MAX) {
        return Err(DecodeError::TooLong { what: WHAT, limit: TOKEN_LEN_MAX as u64 });
    }
    let peers = values.get(b"values").and_then(Value::list).into_iter().flatten();
    Ok(Reply {
        id: id.ok_or(DecodeError::invalid(WHAT, "the id is not 20 bytes long"))?,
        nodes: bytes(b"nodes").map(|bytes| nodes::nodes(bytes, NODE_LEN_V4)).transpose()?,
        nodes6: bytes(b"nodes6").map(|bytes| nodes::nodes(bytes, NODE_LEN_V6)).transpose()?,
        peers: peers.filter_map(Value::bytes).filter_map(address).collect(),
        token,
    })
}

/// An error; what it lacks is not worth another one.
fn error<'a>(root: Value<'_, '_>) -> Body<'a> {
    let mut items = root.get(b"e").and_then(Value::list).into_iter().flatten();
    let code = items.next().and_then(Value::int).unwrap_or_default();
    let text = items.next().and_then(Value::bytes).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let shown = text.chars().filter(|char| !char.is_control());
    Body::Error { code: ErrorCode::from_number(code), reason: shown.take(REASON_LEN_MAX).collect() }
}
