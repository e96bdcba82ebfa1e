//! A torrent's piece hashes in one row, for protocols that know a name and its chunks.

use std::sync::Arc;

use proto::metainfo::Metainfo;
use proto::tracker::text::{ListWriter, hex_list_len};
use proto::{MerkleHash, PieceHash};

use super::{Catalogue, CatalogueError, Which};

/// The hashes of all pieces of a torrent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChunkHashes {
    /// v2 and hybrid: the piece layers of the files, one file after the other (BEP 52); of a file of
    /// one piece its root. Empty files have none.
    V2(Vec<MerkleHash>),
    /// v1 only: SHA-1 of each piece of the content as a whole (BEP 3).
    V1(Arc<[PieceHash]>),
}

impl ChunkHashes {
    fn of(metainfo: &Metainfo) -> Self {
        let info = &metainfo.info;
        match (info.hashes().v2(), info.v1_pieces()) {
            (None, Some(pieces)) => Self::V1(pieces.into()),
            (Some(_), _) | (None, None) => {
                let roots = info.files().iter().filter_map(|file| file.root);
                let mut hashes = Vec::new();
                for root in roots {
                    match metainfo.layers.layer(&root) {
                        Some(layer) => hashes.extend_from_slice(layer),
                        None => hashes.push(root),
                    }
                }
                Self::V2(hashes)
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        match self {
            Self::V2(hashes) => hashes.len(),
            Self::V1(hashes) => hashes.len(),
        }
    }

    /// Bytes that they take in memory.
    #[must_use]
    pub fn memory_len(&self) -> usize {
        match self {
            Self::V2(hashes) => size_of_val(hashes.as_slice()),
            Self::V1(hashes) => size_of_val(&**hashes),
        }
    }

    /// Bytes of the list that [`Self::write`] writes.
    #[must_use]
    pub fn list_len(&self) -> u64 {
        let hex_len = match self {
            Self::V2(_) => V2_HEX_LEN,
            Self::V1(_) => V1_HEX_LEN,
        };
        hex_list_len(self.count() as u64, hex_len)
    }

    /// Appends up to `max` hashes from number `from` on, in hex; the last ones end the list.
    pub fn write(&self, out: &mut Vec<u8>, list: &mut ListWriter, from: usize, max: usize) {
        let some = from..(from + max).min(self.count());
        match self {
            Self::V2(hashes) => {
                some.for_each(|at| list.text(out, &hashes[at].to_string()));
            }
            Self::V1(hashes) => {
                some.for_each(|at| list.text(out, &hashes[at].to_string()));
            }
        }
        if from + max >= self.count() {
            list.finish(out);
        }
    }
}

impl Catalogue {
    /// The piece hashes of a torrent, a file's or a folder's; `None` when nothing has that name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn chunk_hashes(&self, name: String) -> Result<Option<ChunkHashes>, CatalogueError> {
        let lists = Arc::clone(&self.lists);
        self.read(move |store| {
            let found = store.fetch(&Which::Name(name))?;
            let found = found.filter(|found| lists.admits(&found.entry.hashes));
            let Some(found) = found else { return Ok(None) };
            Ok(Some(ChunkHashes::of(&Metainfo::decode(&found.metainfo)?)))
        })
        .await
    }
}

/// Hexadecimal digits of a SHA-256.
pub(crate) const V2_HEX_LEN: u64 = 64;
/// Hexadecimal digits of a SHA-1.
const V1_HEX_LEN: u64 = 40;

#[cfg(test)]
mod tests {
    use proto::tracker::text::ChunkList;

    use super::*;

    fn hashes(torrent: &[u8]) -> ChunkHashes {
        ChunkHashes::of(&Metainfo::decode(torrent).unwrap())
    }

    fn written(hashes: &ChunkHashes, step: usize) -> Vec<u8> {
        let (mut out, mut list) = (Vec::new(), ListWriter::default());
        for from in (0..hashes.count().max(1)).step_by(step) {
            hashes.write(&mut out, &mut list, from, step);
        }
        out
    }

    /// Files of 10, 70,000, 16,384 and 0 bytes in pieces of 32 KiB.
    #[test]
    fn a_folder_has_the_hashes_of_its_files_in_order() {
        let v1 = hashes(include_bytes!("../../../../fuzz/corpus/metainfo/v1-folder"));
        let v2 = hashes(include_bytes!("../../../../fuzz/corpus/metainfo/v2-folder"));
        let hybrid = hashes(include_bytes!("../../../../fuzz/corpus/metainfo/hybrid-folder"));
        assert!(matches!(&v1, ChunkHashes::V1(pieces) if pieces.len() == 3), "{v1:?}");
        assert!(matches!(&v2, ChunkHashes::V2(pieces) if pieces.len() == 1 + 3 + 1), "{v2:?}");
        assert_eq!(hybrid, v2, "the stronger ones");
    }

    #[test]
    fn what_is_written_has_the_length_that_is_told() {
        let folder = include_bytes!("../../../../fuzz/corpus/metainfo/v2-folder");
        for hashes in [hashes(folder), ChunkHashes::V2(Vec::new()), ChunkHashes::V1([].into())] {
            for step in 1..9 {
                let text = written(&hashes, step);
                assert_eq!(text.len() as u64, hashes.list_len(), "{step}");
                let list = ChunkList::decode(&text).unwrap();
                assert_eq!(list.items().count(), hashes.count());
            }
        }
    }
}
