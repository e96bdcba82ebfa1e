//! Hashes that are known from the version before: files that have not changed are not read again.
//!
//! A v2 tree depends on nothing but its file, and in a hybrid each file starts on a piece, so the
//! SHA-1 of its pieces do not either, but for the pad behind it.

use std::collections::{BTreeMap, HashMap};

use proto::PieceIndex;
use proto::metainfo::{File, Format, Layout, Metainfo, piece_len_for};

use super::pipeline::PieceHashes;
use crate::api::Fresh;
use crate::disk::FileIdentity;

/// A version that was hashed before.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Its torrent.
    pub metainfo: &'a Metainfo,
    /// Its files as they were when they were hashed.
    pub fresh: &'a Fresh,
}

impl Known<'_> {
    /// The piece length for the next version: the same, unless the content has grown or shrunk so much
    /// that it would be a bad one.
    pub(super) fn piece_len(&self, lens: &[u64], format: Format) -> u32 {
        let (best, before) = (piece_len_for(lens, format), self.metainfo.info.piece_len());
        let near = best / 2 <= before && before / 2 <= best;
        if near { before } else { best }
    }

    /// The hashes of pieces of files that are the very same as before.
    pub(super) fn pieces(
        &self,
        layout: &Layout,
        identities: &[Option<FileIdentity>],
    ) -> HashMap<PieceIndex, PieceHashes> {
        let info = &self.metainfo.info;
        let mut known = HashMap::new();
        let same_kind = Format::of(&info.hashes()) == layout.format()
            && layout.format().has_v2()
            && info.piece_len() == layout.piece_len();
        if !same_kind {
            return known;
        }
        let numbered = info.files().iter().enumerate();
        let before: BTreeMap<&[String], (usize, &File)> =
            numbered.map(|(index, file)| (file.path.as_slice(), (index, file))).collect();
        let single = info.is_single_file();
        for (file, identity) in layout.files().iter().zip(identities) {
            let before = match single {
                true => info.files().first().map(|file| (0, file)),
                false => before.get(file.path.as_slice()).copied(),
            };
            let Some((index, before)) = before else { continue };
            let same = identity.is_some() && self.fresh.0.get(index) == Some(identity);
            if same && before.len == file.len && file.len > 0 {
                self.add_file(layout, (before, file), &mut known);
            }
        }
        known
    }

    fn add_file(
        &self,
        layout: &Layout,
        (before, file): (&File, &File),
        known: &mut HashMap<PieceIndex, PieceHashes>,
    ) {
        let info = &self.metainfo.info;
        let piece_len = u64::from(layout.piece_len());
        let (from, to) = ((before.offset / piece_len) as u32, (file.offset / piece_len) as u32);
        // Hybrids of several files have pads, that of one has none.
        let same_pads =
            layout.format() == Format::V2 || (info.files().len() > 1) == (layout.files().len() > 1);
        for number in 0..file.len.div_ceil(piece_len) as u32 {
            let whole = u64::from(number + 1) * piece_len <= file.len;
            if !whole && !same_pads {
                continue;
            }
            let Some(expected) = info.expected(PieceIndex(from + number), &self.metainfo.layers)
            else {
                continue;
            };
            let piece = PieceIndex(to + number);
            let v2 = expected.v2.map(|expected| expected.hash);
            known.insert(piece, PieceHashes { piece, v1: expected.v1, v2 });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proto::metainfo::Details;

    use super::*;
    use crate::hashing::Control;
    use crate::hashing::create::{Created, Recipe, create, create_after};

    fn recipe(format: Format, piece_len: Option<u32>) -> Recipe {
        Recipe { name: "it".to_owned(), format, piece_len, details: Details::default() }
    }

    fn write(path: &Path, seed: u8, len: usize) {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 7) as u8 ^ seed).collect();
        std::fs::write(path, bytes).expect("a file");
    }

    /// Hashes the next version with what is known, and the plain way: both must say the same.
    fn check(path: &Path, format: Format, before: &Created, known_pieces: usize) -> Created {
        let known = Known { metainfo: &before.metainfo, fresh: &before.fresh };
        let plan =
            create(path, recipe(format, Some(32_768)), &Control::default()).expect("content");
        let info = &plan.metainfo.info;
        let control = Control::default();
        let after = create_after(path, recipe(format, Some(32_768)), Some(known), &control);
        let after = after.expect("content");
        assert_eq!(after.metainfo, plan.metainfo, "{format:?}");
        assert_eq!((control.hashed(), control.total()), (info.content_len(), info.content_len()));
        let files = info.files().iter().map(|file| proto::metainfo::NewFile {
            path: file.path.clone(),
            len: file.len,
            executable: file.executable,
            symlink: None,
        });
        let shape = proto::metainfo::Shape::Folder;
        let layout = Layout::plan("it", shape, files.collect(), 32_768, format).expect("a layout");
        let found = known.pieces(&layout, &plan.fresh.0);
        assert_eq!(found.len(), known_pieces, "{format:?}");
        after
    }

    #[test]
    fn only_changed_files_are_hashed_and_the_torrent_is_the_same() {
        for (format, of_two, of_one) in
            [(Format::Hybrid, 5, 2), (Format::V2, 5, 3), (Format::V1, 0, 0)]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let path = |name: &str| folder.path().join(name);
            write(&path("a"), 1, 70_000);
            write(&path("b"), 2, 32_768);
            write(&path("c"), 3, 20_000);
            let made = create(folder.path(), recipe(format, Some(32_768)), &Control::default());
            let first = made.expect("content");
            // A file before the others moves all of their pieces.
            write(&path("0"), 9, 40_000);
            let second = check(folder.path(), format, &first, of_two);
            for name in ["0", "b", "c"] {
                std::fs::remove_file(path(name)).expect("it is there");
            }
            // Alone, its last piece has no pad any more.
            check(folder.path(), format, &second, of_one);
        }
    }

    #[test]
    fn the_piece_length_stays_while_it_is_a_good_one() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("a"), 1, 100_000);
        let before = create(folder.path(), recipe(Format::V2, Some(1 << 20)), &Control::default());
        let before = before.expect("content");
        let known = Known { metainfo: &before.metainfo, fresh: &before.fresh };
        assert_eq!(known.piece_len(&[100_000], Format::V2), 1 << 20);
        assert_eq!(known.piece_len(&[1 << 40], Format::V2), 16 << 20);
    }
}
