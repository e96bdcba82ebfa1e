//! Where the files of a new torrent lie. The only code that decides it: who hashes the content and
//! who writes the info dictionary ask here.
//!
//! Files are in the order of the v2 `file tree`: sorted by the bytes of their path components. v1 puts
//! them end to end; v2 and hybrid start each on a piece, and a hybrid of more than one file fills
//! every gap with a pad file, the one behind the last file included, as libtorrent does since 2.0.8.

use super::limits::{
    FILE_COUNT_MAX, PIECE_COUNT_MAX, PIECE_LEN_MAX, PIECE_LEN_MIN, V1_PIECE_LEN_MIN,
};
use super::{File, Info, MetainfoError, decode, name};
use crate::merkle::TreeShape;
use crate::{FileIndex, Geometry, InfoHashes};

/// Which of the two formats a torrent is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// BEP 3: every client reads it.
    V1,
    /// BEP 52 only.
    V2,
    /// Both, over the same content.
    Hybrid,
}

impl Format {
    /// The format of a torrent with these hashes.
    #[must_use]
    pub const fn of(hashes: &InfoHashes) -> Self {
        match (hashes.v1(), hashes.v2()) {
            (Some(_), Some(_)) => Self::Hybrid,
            (None, Some(_)) => Self::V2,
            (Some(_) | None, None) => Self::V1,
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        }
    }

    /// It has `pieces`.
    #[must_use]
    pub const fn has_v1(self) -> bool {
        matches!(self, Self::V1 | Self::Hybrid)
    }

    /// It has a `file tree`.
    #[must_use]
    pub const fn has_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Hybrid)
    }
}

/// Whether a torrent is one file or a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// One file; its path is the torrent's name.
    File,
    /// A folder of the torrent's name.
    Folder,
}

/// A file to be put into a torrent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewFile {
    /// Components below the torrent's folder; ignored for [`Shape::File`].
    pub path: Vec<String>,
    /// Length in bytes; 0 for symbolic links.
    pub len: u64,
    /// May be run.
    pub executable: bool,
    /// The target of a symbolic link, as components below the torrent's folder.
    pub symlink: Option<Vec<String>>,
}

/// The plan of a torrent: everything but the hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    pub(super) name: String,
    pub(super) shape: Shape,
    pub(super) format: Format,
    pub(super) piece_len: u32,
    pub(super) files: Vec<File>,
    pub(super) end: u64,
}

impl Layout {
    /// Sorts the files and gives each its place. Refuses what [`Info::decode`](super::Info::decode)
    /// would refuse.
    pub fn plan(
        name: &str,
        shape: Shape,
        files: Vec<NewFile>,
        piece_len: u32,
        format: Format,
    ) -> Result<Self, MetainfoError> {
        name::check_name(name).map_err(|reason| MetainfoError::invalid("name", reason))?;
        check_piece_len(piece_len, format)?;
        if files.is_empty() || (shape == Shape::File && files.len() != 1) {
            return Err(MetainfoError::invalid("files", "has no files"));
        }
        if files.len() > FILE_COUNT_MAX {
            return Err(MetainfoError::TooLarge { what: "files", limit: FILE_COUNT_MAX as u64 });
        }
        let mut files: Vec<File> = files.into_iter().map(File::from).collect();
        if shape == Shape::File {
            files[0].path = vec![name.to_owned()];
        }
        files.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        let mut end = 0_u64;
        for file in &mut files {
            name::check_path(&file.path)?;
            check_link(file)?;
            file.offset = match format {
                Format::V2 | Format::Hybrid if file.len > 0 => {
                    end.next_multiple_of(u64::from(piece_len))
                }
                Format::V1 | Format::V2 | Format::Hybrid => end,
            };
            end = decode::check_end(file.offset.saturating_add(file.len))?;
        }
        name::check_unique(&files)?;
        if format == Format::Hybrid && files.len() > 1 {
            end = end.next_multiple_of(u64::from(piece_len));
        }
        if end.div_ceil(u64::from(piece_len)) > PIECE_COUNT_MAX {
            return Err(MetainfoError::TooLarge { what: "pieces", limit: PIECE_COUNT_MAX });
        }
        if format == Format::V2 && shape == Shape::Folder && decode::is_single(&files, name) {
            let reason = "is the only one and has the folder's name, which v2 alone cannot express";
            return Err(MetainfoError::file(&files[0].path, reason));
        }
        Ok(Self { name: name.to_owned(), shape, format, piece_len, files, end })
    }

    /// The files in their final order and with their offsets; roots are not known yet.
    #[must_use]
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// Nominal bytes in a piece.
    #[must_use]
    pub const fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// The format.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// A torrent has this very layout: only its hashes are its own.
    #[must_use]
    pub fn is_of(&self, info: &Info) -> bool {
        let bare = |file: &File| File { root: None, hidden: false, ..file.clone() };
        info.name == self.name
            && info.single_file == (self.shape == Shape::File)
            && Format::of(&info.hashes) == self.format
            && (info.piece_len, info.end) == (self.piece_len, self.end)
            && info.files.len() == self.files.len()
            && info.files.iter().zip(&self.files).all(|(theirs, ours)| bare(theirs) == bare(ours))
    }

    /// How the content is cut into pieces. The SHA-1 of a piece covers its gaps as zeros.
    #[must_use]
    pub fn geometry(&self) -> Geometry {
        let files = self.files.iter().enumerate();
        let extents = files.map(|(index, file)| (FileIndex(index as u32), file.offset, file.len));
        Geometry::new(self.piece_len, self.end, self.format == Format::V2, extents)
    }

    /// The merkle tree that the file needs; `None` for empty files and links, and for v1.
    #[must_use]
    pub fn tree(&self, file: &File) -> Option<TreeShape> {
        self.format.has_v2().then(|| TreeShape::new(file.len, self.piece_len)).flatten()
    }

    /// Length of the pad behind a file.
    pub(super) fn pad_behind(&self, file: &File) -> u64 {
        let padded = self.format == Format::Hybrid && self.files.len() > 1 && file.len > 0;
        let end = file.offset + file.len;
        if padded { end.next_multiple_of(u64::from(self.piece_len)) - end } else { 0 }
    }
}

impl From<NewFile> for File {
    fn from(file: NewFile) -> Self {
        let NewFile { path, len, executable, symlink } = file;
        // Links are "executable" wherever they come from: on Unix they have all permission bits, and
        // libtorrent writes them so.
        let executable = executable || symlink.is_some();
        Self { path, len, offset: 0, executable, hidden: false, symlink, root: None }
    }
}

fn check_piece_len(piece_len: u32, format: Format) -> Result<(), MetainfoError> {
    let reason = if piece_len > PIECE_LEN_MAX {
        "is above 512 MiB"
    } else if format.has_v2() && (piece_len < PIECE_LEN_MIN || !piece_len.is_power_of_two()) {
        "is not a power of two of at least 16 KiB"
    } else if piece_len < V1_PIECE_LEN_MIN {
        "is below 1 KiB"
    } else {
        return Ok(());
    };
    Err(MetainfoError::invalid("piece length", reason))
}

fn check_link(file: &File) -> Result<(), MetainfoError> {
    let Some(target) = &file.symlink else { return Ok(()) };
    name::check_path(target)?;
    if file.len > 0 {
        return Err(MetainfoError::path(&file.path, "is a link with a length"));
    }
    if *target == file.path {
        return Err(MetainfoError::path(&file.path, "is a link to itself"));
    }
    Ok(())
}

/// The usual piece length.
const PIECE_LEN_USUAL: u32 = 512 * 1024;
/// Above that, pieces grow with the content until they are this long.
const PIECE_LEN_LARGE: u32 = 16 << 20;
/// More pieces than this and the next length is taken: bitfields and `have` messages stay small.
const PIECES_USUAL: u64 = 16 * 1024;

/// A piece length for content with files of these lengths: 512 KiB, more for very large content, and
/// for hybrids less while pads would take more than a quarter of the real bytes.
#[must_use]
pub fn piece_len_for(lens: &[u64], format: Format) -> u32 {
    let total = lens.iter().fold(0_u64, |sum, len| sum.saturating_add(*len));
    let mut piece_len = PIECE_LEN_USUAL;
    while piece_len < PIECE_LEN_LARGE && total / u64::from(piece_len) > PIECES_USUAL {
        piece_len *= 2;
    }
    while piece_len < PIECE_LEN_MAX && pieces(lens, piece_len) > PIECE_COUNT_MAX {
        piece_len *= 2;
    }
    if format == Format::Hybrid && lens.len() > 1 {
        while piece_len > PIECE_LEN_MIN
            && pieces(lens, piece_len).saturating_mul(u64::from(piece_len)) > total + total / 4
            && pieces(lens, piece_len / 2) <= PIECE_COUNT_MAX
        {
            piece_len /= 2;
        }
    }
    piece_len
}

/// Pieces when each file starts on one.
fn pieces(lens: &[u64], piece_len: u32) -> u64 {
    lens.iter().map(|len| len.div_ceil(u64::from(piece_len))).fold(0, u64::saturating_add)
}
