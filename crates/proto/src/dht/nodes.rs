//! Nodes as packed bytes: the id, then the address.

use super::{Contact, NODE_LEN_V4, NODE_LEN_V6, NODES_MAX, NodeId, WHAT};
use crate::DecodeError;
use crate::compact::{address, push};
use crate::reader::Reader;

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
        pack(std::slice::from_ref(self))
    }

    /// Reads what [`Contact::encode`] wrote.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, addr) = bytes.split_first_chunk()?;
        Some(Self { id: NodeId(*id), addr: address(addr)? })
    }
}

/// Nodes, packed.
pub(super) fn pack(nodes: &[Contact]) -> Vec<u8> {
    let mut out = Vec::with_capacity(nodes.len() * NODE_LEN_V6);
    for node in nodes {
        out.extend_from_slice(node.id.as_bytes());
        push(&mut out, node.addr);
    }
    out
}
