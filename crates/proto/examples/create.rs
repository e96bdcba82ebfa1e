//! Makes a torrent of a file or folder in each format, to compare with other programs:
//! `create OUT_DIR PIECE_LEN PATH` writes `v1.torrent`, `v2.torrent` and `hybrid.torrent`.
//! Reads everything into memory and hashes one after another: an oracle, not a tool.

use std::error::Error;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use proto::merkle::{self, TreeShape};
use proto::metainfo::{
    ContentHashes, Details, FileHashes, Format, Layout, Metainfo, NewFile, Shape,
};
use proto::{PieceHash, PieceIndex};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [out, piece_len, path] = args.as_slice() else {
        return Err("usage: create OUT_DIR PIECE_LEN PATH".into());
    };
    let (path, piece_len) = (Path::new(path), piece_len.parse()?);
    let formats = [("v1", Format::V1), ("v2", Format::V2), ("hybrid", Format::Hybrid)];
    for (name, format) in formats {
        let metainfo = create(path, piece_len, format)?;
        let bytes = metainfo.encode();
        assert_eq!(Metainfo::decode(&bytes)?, metainfo, "what is written must be read back");
        #[expect(clippy::disallowed_methods, reason = "an example may do I/O")]
        std::fs::write(Path::new(out).join(format!("{name}.torrent")), bytes)?;
    }
    Ok(())
}

fn create(path: &Path, piece_len: u32, format: Format) -> Result<Metainfo, Box<dyn Error>> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or("no name")?;
    let (shape, root) = if path.is_dir() { (Shape::Folder, path) } else { (Shape::File, path) };
    let mut files = Vec::new();
    collect(root, root, &mut files)?;
    let layout = Layout::plan(name, shape, files, piece_len, format)?;
    let mut contents = Vec::new();
    for file in layout.files() {
        let place = match shape {
            Shape::File => root.to_owned(),
            Shape::Folder => root.join(file.path.iter().collect::<PathBuf>()),
        };
        #[expect(clippy::disallowed_methods, reason = "an example may do I/O")]
        contents.push(if file.len == 0 { Vec::new() } else { std::fs::read(place)? });
    }
    let hashes = ContentHashes {
        v1_pieces: if format.has_v1() { v1_pieces(&layout, &contents) } else { Vec::new() },
        files: layout
            .files()
            .iter()
            .zip(&contents)
            .map(|(file, data)| Some(file_hashes(layout.tree(file)?, data)))
            .collect(),
    };
    Ok(layout.build(hashes, Details::default())?)
}

fn v1_pieces(layout: &Layout, contents: &[Vec<u8>]) -> Vec<PieceHash> {
    let geometry = layout.geometry();
    let hash = |number| {
        let whole = geometry.whole(PieceIndex(number));
        let mut piece = vec![0; whole.len as usize];
        for span in geometry.spans(whole) {
            let (to, from, len) =
                (span.begin as usize, span.file_offset as usize, span.len as usize);
            piece[to..to + len].copy_from_slice(&contents[span.file.0 as usize][from..from + len]);
        }
        PieceHash(digest::sha1(&piece))
    };
    (0..geometry.piece_count()).map(hash).collect()
}

fn file_hashes(shape: TreeShape, data: &[u8]) -> FileHashes {
    let leaves = merkle::leaves(data);
    let layer: Arc<[_]> = if shape.has_layer() {
        let width = 1 << shape.piece_layer();
        leaves.chunks(width).map(|piece| merkle::root(piece, width as u64)).collect()
    } else {
        Arc::default()
    };
    let hashes = if shape.has_layer() { &layer[..] } else { &leaves };
    let root = merkle::file_root(&shape, hashes).expect("as many hashes as the shape has");
    FileHashes { root, layer }
}

fn collect(root: &Path, path: &Path, files: &mut Vec<NewFile>) -> Result<(), Box<dyn Error>> {
    let meta = std::fs::symlink_metadata(path)?;
    if meta.is_dir() {
        for entry in std::fs::read_dir(path)? {
            collect(root, &entry?.path(), files)?;
        }
        return Ok(());
    }
    let mut file = NewFile { path: components(path.strip_prefix(root)?)?, ..NewFile::default() };
    if meta.is_symlink() {
        let target = path.parent().unwrap_or(root).join(std::fs::read_link(path)?);
        let Ok(inside) = lexical(&target).strip_prefix(root).map(Path::to_owned) else {
            return Ok(());
        };
        file.symlink = Some(components(&inside)?);
    } else {
        file.len = meta.len();
        file.executable = meta.permissions().mode() & 0o111 != 0;
    }
    files.push(file);
    Ok(())
}

fn components(path: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    path.iter().map(|name| Ok(name.to_str().ok_or("a name is not UTF-8")?.to_owned())).collect()
}

fn lexical(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    plain
}
