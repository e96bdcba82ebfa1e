//! Pieces, blocks and where their bytes live in the files.
//!
//! A torrent is one linear space cut into pieces of one length. v1 fills the space with the files one
//! after another; v2 starts each file on a piece; a hybrid does both, with pad files (BEP 47) in the
//! gaps. Here a pad is simply space that no file covers: its bytes are zeros, never stored, served
//! when asked for.

use std::ops::Range;

/// Bytes in a block, the unit of requests and of v2 leaf hashes (16 KiB).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// A piece's place in the torrent, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PieceIndex(pub u32);

impl PieceIndex {
    /// For slices that have one entry a piece.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

/// A file's place in the torrent's list of files, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIndex(pub u32);

/// A run of bytes inside a piece, as requests and cancels name it: 16 KiB, unless it is the last of its piece
/// or two peers agreed on longer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece.
    pub piece: PieceIndex,
    /// Where the run starts in the piece, in bytes.
    pub begin: u32,
    /// Its length in bytes.
    pub len: u32,
}

impl Block {
    /// The number of the 16 KiB block that this run starts in.
    #[must_use]
    pub const fn number(&self) -> u32 {
        self.begin / BLOCK_LEN
    }

    /// How many blocks of 16 KiB it is, the last of which may be short.
    #[must_use]
    pub const fn block_count(&self) -> u32 {
        self.len.div_ceil(BLOCK_LEN)
    }

    /// The blocks of 16 KiB that it is made of, in order; itself, if it is no longer than one.
    pub fn blocks(self) -> impl Iterator<Item = Self> {
        let starts = (0..self.len).step_by(BLOCK_LEN as usize);
        starts.map(move |start| self.part(start, (self.len - start).min(BLOCK_LEN)))
    }

    /// What is left of it before and behind one of its [blocks](Self::blocks), which may be empty; `None` unless
    /// `block` is one of them.
    #[must_use]
    pub fn around(self, block: Self) -> Option<[Self; 2]> {
        let start = block.begin.checked_sub(self.begin)?;
        let rest = self.len.checked_sub(start)?;
        let is_one = start.is_multiple_of(BLOCK_LEN) && block.len == rest.min(BLOCK_LEN);
        if self.piece != block.piece || !is_one {
            return None;
        }
        Some([self.part(0, start), self.part(start + block.len, rest - block.len)])
    }

    /// Both as one run; `None` unless `next` begins where this one ends.
    #[must_use]
    pub fn joined(self, next: Self) -> Option<Self> {
        let adjoins = self.begin.checked_add(self.len) == Some(next.begin);
        (self.piece == next.piece && adjoins)
            .then(|| Self { len: self.len.saturating_add(next.len), ..self })
    }

    // Begins may be anything that a peer wrote.
    const fn part(self, start: u32, len: u32) -> Self {
        Self { begin: self.begin.saturating_add(start), len, ..self }
    }
}

/// A part of a piece that lies in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileIndex,
    /// Where the part starts in the file.
    pub file_offset: u64,
    /// Where the part starts in the piece.
    pub begin: u32,
    /// Its length in bytes.
    pub len: u32,
}

/// How a torrent's space is cut into pieces and which file covers what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    piece_len: u32,
    piece_count: u32,
    /// End of the space; only the last piece can be cut by it.
    end: u64,
    /// v2 only: a piece also ends where its file ends.
    file_aligned: bool,
    /// Files that have bytes, by start.
    files: Vec<Extent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Extent {
    start: u64,
    end: u64,
    file: FileIndex,
}

impl Geometry {
    /// Lays files out. `files` gives each real (not pad) file's start in the space and its length, in
    /// rising order and without overlap; `end` is the end of the space, pads included;
    /// `file_aligned` is set for v2-only torrents, whose pieces end with their files.
    ///
    /// # Panics
    /// If the files overlap or pass `end`, or there are more than 2^31 pieces: metainfo is checked
    /// before it gets here.
    #[must_use]
    pub fn new(
        piece_len: u32,
        end: u64,
        file_aligned: bool,
        files: impl IntoIterator<Item = (FileIndex, u64, u64)>,
    ) -> Self {
        let files: Vec<_> = files
            .into_iter()
            .filter(|(.., len)| *len > 0)
            .map(|(file, start, len)| Extent { start, end: start + len, file })
            .collect();
        assert!(files.windows(2).all(|pair| pair[0].end <= pair[1].start), "files overlap");
        assert!(files.last().is_none_or(|last| last.end <= end), "a file passes the end");
        let piece_count = end.div_ceil(u64::from(piece_len));
        assert!(piece_count < 1 << 31, "too many pieces");
        Self { piece_len, piece_count: piece_count as u32, end, file_aligned, files }
    }

    /// The nominal length of a piece in bytes.
    #[must_use]
    pub const fn nominal_piece_len(&self) -> u32 {
        self.piece_len
    }

    /// The number of pieces.
    #[must_use]
    pub const fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// Bytes of all real files together.
    #[must_use]
    pub fn content_len(&self) -> u64 {
        self.files.iter().map(|file| file.end - file.start).sum()
    }

    /// Where `piece` lies in the space.
    ///
    /// # Panics
    /// If there is no such piece.
    #[must_use]
    pub fn piece_range(&self, piece: PieceIndex) -> Range<u64> {
        assert!(piece.0 < self.piece_count, "piece {} of {}", piece.0, self.piece_count);
        let start = u64::from(piece.0) * u64::from(self.piece_len);
        let end = (start + u64::from(self.piece_len)).min(self.end);
        match self.file_aligned {
            true => start..self.file_at(start).map_or(end, |file| file.end.min(end)),
            false => start..end,
        }
    }

    /// The length of `piece` in bytes, as requests see it.
    #[must_use]
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let range = self.piece_range(piece);
        (range.end - range.start) as u32
    }

    /// The number of 16 KiB blocks in `piece`; the last one may be short.
    #[must_use]
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// The block with that number in `piece`.
    #[must_use]
    pub fn block(&self, piece: PieceIndex, number: u32) -> Block {
        let begin = number * BLOCK_LEN;
        Block { piece, begin, len: (self.piece_len(piece) - begin).min(BLOCK_LEN) }
    }

    /// Whether a request for `block` is one that can be answered. The gap behind a file of v2 is as good
    /// as a pad: libtorrent before 2.0.13 asks for the last block of each file in full.
    #[must_use]
    pub fn contains(&self, block: Block) -> bool {
        if block.piece.0 >= self.piece_count {
            return false;
        }
        let room = if self.file_aligned { self.piece_len } else { self.piece_len(block.piece) };
        block.len > 0 && u64::from(block.begin) + u64::from(block.len) <= u64::from(room)
    }

    /// Whether any byte of the run belongs to a real file; if not, it is all pad.
    #[must_use]
    pub fn has_content(&self, block: Block) -> bool {
        self.spans(block).next().is_some()
    }

    /// The parts of real files in the run, in order. What lies between them is pad: zeros.
    /// Each [`Span::begin`] counts from the start of the piece.
    pub fn spans(&self, run: Block) -> impl Iterator<Item = Span> + '_ {
        let piece_start = u64::from(run.piece.0) * u64::from(self.piece_len);
        let start = piece_start + u64::from(run.begin);
        let end = start + u64::from(run.len);
        let first = self.files.partition_point(|file| file.end <= start);
        self.files[first..].iter().take_while(move |file| file.start < end).map(move |file| {
            let from = file.start.max(start);
            Span {
                file: file.file,
                file_offset: from - file.start,
                begin: (from - piece_start) as u32,
                len: (file.end.min(end) - from) as u32,
            }
        })
    }

    /// The whole piece as one run.
    #[must_use]
    pub fn whole(&self, piece: PieceIndex) -> Block {
        Block { piece, begin: 0, len: self.piece_len(piece) }
    }

    /// The pieces that hold bytes of `file`; empty for an empty file.
    #[must_use]
    pub fn pieces_of(&self, file: FileIndex) -> Range<u32> {
        // Files are numbered in the order of the space.
        let Ok(place) = self.files.binary_search_by_key(&file, |extent| extent.file) else {
            return 0..0;
        };
        let extent = &self.files[place];
        let piece_len = u64::from(self.piece_len);
        (extent.start / piece_len) as u32..extent.end.div_ceil(piece_len) as u32
    }

    fn file_at(&self, position: u64) -> Option<&Extent> {
        let index = self.files.partition_point(|file| file.end <= position);
        self.files.get(index).filter(|file| file.start <= position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u32 = 4 * BLOCK_LEN;

    fn two_files(end: u64, file_aligned: bool) -> Geometry {
        let files = [(FileIndex(0), 0, 100_000), (FileIndex(2), 131_072, 10)];
        Geometry::new(PIECE, end, file_aligned, files)
    }

    #[test]
    fn v2_pieces_end_with_their_file() {
        let v2 = two_files(131_082, true);
        assert_eq!(v2.piece_count(), 3);
        assert_eq!([0, 1, 2].map(|i| v2.piece_len(PieceIndex(i))), [65_536, 34_464, 10]);
        assert_eq!(v2.block_count(PieceIndex(1)), 3);
        assert_eq!(v2.block(PieceIndex(1), 2).len, 34_464 - 2 * BLOCK_LEN);
    }

    #[test]
    fn hybrid_pieces_run_into_pads() {
        let hybrid = two_files(131_082, false);
        assert_eq!(hybrid.piece_len(PieceIndex(1)), PIECE);
        assert!(hybrid.has_content(hybrid.block(PieceIndex(1), 2)));
        assert!(!hybrid.has_content(hybrid.block(PieceIndex(1), 3)));
        let spans: Vec<_> = hybrid.spans(hybrid.whole(PieceIndex(1))).collect();
        let only = Span { file: FileIndex(0), file_offset: 65_536, begin: 0, len: 34_464 };
        assert_eq!(spans, [only]);
        assert_eq!(hybrid.pieces_of(FileIndex(2)), 2..3);
    }

    #[test]
    fn runs_are_taken_apart_and_joined() {
        let run = |begin, len| Block { piece: PieceIndex(1), begin, len };
        let whole = run(0, 2 * BLOCK_LEN + 5);
        let blocks: Vec<_> = whole.blocks().collect();
        assert_eq!(blocks, [run(0, BLOCK_LEN), run(BLOCK_LEN, BLOCK_LEN), run(2 * BLOCK_LEN, 5)]);
        assert_eq!(blocks[0].joined(blocks[1]), Some(run(0, 2 * BLOCK_LEN)));
        assert_eq!((blocks[0].joined(blocks[2]), run(u32::MAX, 1).joined(blocks[0])), (None, None));
        let around = [run(0, BLOCK_LEN), run(2 * BLOCK_LEN, 5)];
        assert_eq!(whole.around(blocks[1]), Some(around));
        for other in [whole, run(5, 1), run(0, 1), run(0, 2 * BLOCK_LEN), run(0, u32::MAX)] {
            assert_eq!(whole.around(other), None, "{other:?} is none of its blocks");
        }
        assert_eq!(run(3, 7).around(run(3, 7)), Some([run(3, 0), run(10, 0)]));
        assert_eq!(run(0, 10).around(run(5, u32::MAX)), None);
        assert_eq!(run(u32::MAX - 1, 3 * BLOCK_LEN).blocks().count(), 3);
    }

    #[test]
    fn requests_outside_the_piece_are_refused() {
        let v1 = two_files(131_082, false);
        let block = |piece, begin, len| Block { piece: PieceIndex(piece), begin, len };
        assert!(v1.contains(block(2, 0, 10)));
        assert!(!v1.contains(block(2, 0, 11)));
        assert!(!v1.contains(block(3, 0, 1)));
        assert!(!v1.contains(block(0, u32::MAX, u32::MAX)));
        assert!(!v1.contains(block(0, 0, 0)));
    }

    #[test]
    fn requests_may_reach_into_the_gap_behind_a_v2_file() {
        let v2 = two_files(131_082, true);
        let whole = |piece, number| Block {
            piece: PieceIndex(piece),
            begin: number * BLOCK_LEN,
            len: BLOCK_LEN,
        };
        assert!(v2.contains(whole(1, 2)) && v2.contains(whole(2, 0)));
        assert!(!v2.contains(whole(1, 4)) && !v2.contains(whole(3, 0)));
        let spans: Vec<_> = v2.spans(whole(2, 0)).map(|span| (span.begin, span.len)).collect();
        assert_eq!(spans, [(0, 10)], "the rest reads as zeros");
    }
}
