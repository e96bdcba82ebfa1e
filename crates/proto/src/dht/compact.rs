//! Addresses and nodes as packed bytes: 4 or 16 of the address, two of the port, before them a node's
//! id.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Contact, NODE_LEN_V4, NODE_LEN_V6, NODES_MAX, NodeId, WHAT};
use crate::DecodeError;
use crate::reader::Reader;

/// An address of 6 or 18 bytes.
pub(super) fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip: IpAddr = match ip.len() {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(ip).ok()?).into(),
        16 => Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Appends an address.
pub(super) fn push_address(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// The nodes of a reply, the first [`NODES_MAX`] of them; `len` is what each takes up.
pub(super) fn nodes(bytes: &[u8], len: usize) -> Result<Vec<Contact>, DecodeError> {
    debug_assert!(len == NODE_LEN_V4 || len == NODE_LEN_V6);
    if !bytes.len().is_multiple_of(len) {
        return Err(DecodeError::invalid(WHAT, "the nodes are not a whole number of nodes"));
    }
    let contact = |bytes| {
        let mut reader = Reader::new(WHAT, bytes);
        let id = NodeId(reader.array()?);
        let addr = address(reader.rest());
        Ok(Contact { id, addr: addr.ok_or(DecodeError::Truncated { what: WHAT })? })
    };
    bytes.chunks_exact(len).take(NODES_MAX).map(contact).collect()
}

impl Contact {
    /// Its bytes as they travel: 26 with an IPv4 address, 38 with an IPv6 one.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        pack_nodes(std::slice::from_ref(self))
    }

    /// Reads what [`Contact::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, addr) = bytes.split_first_chunk()?;
        Some(Self { id: NodeId(*id), addr: address(addr)? })
    }
}

/// Nodes, packed.
pub(super) fn pack_nodes(nodes: &[Contact]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nodes.len() * NODE_LEN_V6);
    for node in nodes {
        out.extend_from_slice(node.id.as_bytes());
        push_address(&mut out, node.addr);
    }
    out
}
