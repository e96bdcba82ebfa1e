//! What is kept over a restart: our ids and nodes that answered, as one bencoded dictionary.

use proto::bencode::{self, DictEncoder, Form, Limits, ListEncoder, Value};
use proto::dht::{Contact, NodeId};

use crate::limits::{SAVED_MAX, STATE_LEN_MAX};
use crate::network::Network;
use crate::space::{Family, is_sendable};

/// The saved state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    id_v4: Option<NodeId>,
    id_v6: Option<NodeId>,
    nodes: Vec<Contact>,
}

impl Saved {
    pub(crate) fn of_networks(networks: &[Network]) -> Self {
        let mut saved = Self::default();
        for network in networks {
            match network.family {
                Family::V4 => saved.id_v4 = Some(network.own()),
                Family::V6 => saved.id_v6 = Some(network.own()),
            }
            saved.nodes.extend(network.table.saved().take(SAVED_MAX));
        }
        saved
    }

    /// Our id and the nodes of one network.
    pub(crate) fn of(&self, family: Family) -> (Option<NodeId>, impl Iterator<Item = Contact>) {
        let id = match family {
            Family::V4 => self.id_v4,
            Family::V6 => self.id_v6,
        };
        let nodes = self.nodes.iter().filter(move |contact| Family::of(contact.addr) == family);
        (id, nodes.take(SAVED_MAX).copied())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut root = DictEncoder::new();
        root.int(b"v", VERSION);
        for (key, id) in [(b"id4", self.id_v4), (b"id6", self.id_v6)] {
            if let Some(id) = id {
                root.bytes(key, id.as_bytes());
            }
        }
        let mut nodes = ListEncoder::new();
        for contact in &self.nodes {
            nodes.bytes(&contact.encode());
        }
        root.list(b"nodes", nodes);
        root.finish()
    }

    /// Reads a saved state; `None` when it is none, or of another version.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let document = bencode::decode(bytes, &LIMITS).ok()?;
        let root = document.root();
        if root.get(b"v").and_then(Value::int) != Some(VERSION) {
            return None;
        }
        let id = |key: &[u8]| {
            root.get(key).and_then(Value::bytes).and_then(|id| id.try_into().ok()).map(NodeId)
        };
        let nodes = root.get(b"nodes").and_then(Value::list).into_iter().flatten();
        let nodes = nodes.filter_map(Value::bytes).filter_map(Contact::decode);
        let nodes = nodes.filter(|contact| is_sendable(contact.addr)).take(2 * SAVED_MAX);
        Some(Self { id_v4: id(b"id4"), id_v6: id(b"id6"), nodes: nodes.collect() })
    }
}

const VERSION: i64 = 1;
const LIMITS: Limits = Limits {
    what: "saved DHT state",
    len_max: STATE_LEN_MAX,
    depth_max: 4,
    values_max: 4 * SAVED_MAX,
    form: Form::Canonical,
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn saved() -> Saved {
        let contact = |last: u8, addr: &str| Contact {
            id: NodeId([last; 20]),
            addr: addr.parse().expect("an address"),
        };
        let nodes = vec![contact(1, "1.2.3.4:5"), contact(2, "[2001:db8::1]:6")];
        Saved { id_v4: Some(NodeId([3; 20])), id_v6: None, nodes }
    }

    #[test]
    fn what_is_saved_comes_back_by_family() {
        let decoded = Saved::decode(&saved().encode()).expect("a state");
        assert_eq!(decoded, saved());
        assert_eq!(decoded.of(Family::V4).0, Some(NodeId([3; 20])));
        assert_eq!(decoded.of(Family::V4).1.count(), 1);
        assert_eq!(decoded.of(Family::V6).1.count(), 1);
        assert_eq!(Saved::decode(b""), None);
        assert_eq!(Saved::decode(b"d1:vi2ee"), None);
    }

    proptest! {
        #[test]
        fn damaged_states_never_panic(at in 0..100_usize, byte: u8, cut in 0..100_usize) {
            let mut bytes = saved().encode();
            let len = bytes.len();
            bytes[at % len] = byte;
            let _ = Saved::decode(&bytes);
            let _ = Saved::decode(&bytes[..cut % len]);
        }
    }
}
