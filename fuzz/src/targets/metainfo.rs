//! Torrent files: what is accepted is safe to join to a folder, adds up, and is written as it came.

use proto::metainfo::{Info, Metainfo};
use proto::{FileIndex, PieceIndex};

/// Decodes a torrent file, and the same bytes as an info dictionary from a peer.
pub fn run(data: &[u8]) {
    if let Ok(metainfo) = Metainfo::decode(data) {
        check(&metainfo.info);
        let raw = metainfo.info.raw();
        assert!(data.windows(raw.len()).any(|window| window == &raw[..]), "raw is from the input");
        let piece_count = metainfo.info.geometry().piece_count().min(1000);
        for piece in (0..piece_count).map(PieceIndex) {
            let expected = metainfo.info.expected(piece, &metainfo.layers);
            assert!(expected.is_some(), "a torrent file tells what each piece must be");
        }
        assert_eq!(metainfo.magnet().hashes, metainfo.info.hashes());
        assert_eq!(Metainfo::decode(&metainfo.encode()), Ok(metainfo));
    }
    if let Ok(info) = Info::decode(data) {
        check(&info);
        assert_eq!(**info.raw(), *data);
    }
}

fn check(info: &Info) {
    let geometry = info.geometry();
    let mut end = 0;
    for (index, file) in info.files().iter().enumerate() {
        let safe = |name: &str| {
            !matches!(name, "" | "." | "..") && !name.contains(['/', '\\']) && !has_control(name)
        };
        assert!(info.target_path(file).all(safe), "{:?}", file.path);
        assert!(file.symlink.iter().flatten().all(|name| safe(name)), "{:?}", file.symlink);
        assert!(file.offset >= end, "files are in order");
        end = file.offset + file.len;
        let pieces = geometry.pieces_of(FileIndex(index as u32));
        assert!(pieces.end <= geometry.piece_count());
    }
    assert!(info.content_len() <= end);
}

fn has_control(name: &str) -> bool {
    name.contains(char::is_control)
}
