//! From [`Metainfo`] back to a torrent file.

use super::Metainfo;
use crate::MerkleHash;
use crate::bencode::{DictEncoder, ListEncoder};

impl Metainfo {
    /// The torrent file. The info dictionary is written as it came, so its hashes stay.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut root = DictEncoder::new();
        root.raw(b"info", self.info.raw.to_vec());
        self.encode_trackers(&mut root);
        if let Some(comment) = &self.comment {
            root.bytes(b"comment", comment.as_bytes());
        }
        if let Some(created_by) = &self.created_by {
            root.bytes(b"created by", created_by.as_bytes());
        }
        if let Some(date) = self.creation_date {
            root.int(b"creation date", date);
        }
        if self.info.hashes.v2().is_some() {
            let mut layers = DictEncoder::new();
            for (root, layer) in self.layers.iter() {
                let hashes: Vec<u8> =
                    layer.iter().flat_map(MerkleHash::as_bytes).copied().collect();
                layers.bytes(&root.0, &hashes);
            }
            root.dict(b"piece layers", &layers);
        }
        if !self.web_seeds.is_empty() {
            let mut urls = ListEncoder::new();
            self.web_seeds.iter().for_each(|url| _ = urls.bytes(url.as_bytes()));
            root.list(b"url-list", urls);
        }
        root.finish()
    }

    fn encode_trackers(&self, root: &mut DictEncoder) {
        let Some(first) = self.trackers.iter().flatten().next() else { return };
        root.bytes(b"announce", first.as_bytes());
        if self.trackers.iter().flatten().count() < 2 {
            return;
        }
        let mut tiers = ListEncoder::new();
        for urls in &self.trackers {
            let mut tier = ListEncoder::new();
            for url in urls {
                tier.bytes(url.as_bytes());
            }
            tiers.raw(&tier.finish());
        }
        root.list(b"announce-list", tiers);
    }
}
