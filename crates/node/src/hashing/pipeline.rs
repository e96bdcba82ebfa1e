//! From files to the hashes of pieces, on all cores, each byte read once.
//!
//! Each thread takes the next few pieces, reads them into its own memory and hashes them; while one
//! waits for the disk, others hash. v2 leaves are hashed as soon as they are read, while they are in
//! the cache; the SHA-1 of pieces waits until the batch is whole, since only several pieces fill the
//! lanes of wide registers.
//!
//! Memory: a batch per thread, at most [`BATCH_BYTES_MAX`]; longer pieces are hashed as a stream.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use digest::Part;
use parking_lot::Mutex;
use proto::merkle::{self, TreeShape};
use proto::{BLOCK_LEN, FileIndex, Geometry, MerkleHash, PieceHash, PieceIndex, Span};

use super::Control;

/// Why bytes of a file could not be had.
#[derive(Debug)]
pub(super) enum Fault {
    /// The system refused.
    Io(io::Error),
    /// The file ends too early.
    Short,
    /// It is not the file that it was.
    Changed,
}

/// Where the bytes come from.
pub(super) trait Source: Sync {
    /// Opens a file.
    fn open(&self, file: FileIndex) -> Result<File, Fault>;
    /// Looks at a file once more after it was read from.
    fn close(&self, file: FileIndex, opened: &File) -> Result<(), Fault>;
    /// The file's length, which shapes its merkle tree.
    fn file_len(&self, file: FileIndex) -> u64;
    /// Takes note of a file that cannot be read. Its pieces will be missing in the result. True goes
    /// on with the others.
    fn handle_fault(&self, file: FileIndex, fault: Fault) -> bool;
}

/// Which hashes to compute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) v1: bool,
    pub(super) v2: bool,
}

/// What a piece hashes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PieceHashes {
    pub(super) piece: PieceIndex,
    /// SHA-1, pads as zeros.
    pub(super) v1: Option<PieceHash>,
    /// The node of the file's merkle tree that covers the piece.
    pub(super) v2: Option<MerkleHash>,
}

/// One run over all pieces.
pub(super) struct Pipeline<'a, S> {
    pub(super) geometry: &'a Geometry,
    pub(super) source: &'a S,
    pub(super) wanted: Wanted,
    /// What is known already: these pieces are not read.
    pub(super) known: HashMap<PieceIndex, PieceHashes>,
    pub(super) control: &'a Control,
}

/// What the threads of a run share.
#[derive(Default)]
struct Progress {
    /// The first piece that nobody took yet.
    next: Mutex<u32>,
    hashes: Mutex<Vec<PieceHashes>>,
    stopped: AtomicBool,
}

impl<S: Source> Pipeline<'_, S> {
    /// The hashes of every piece that could be read, in order; fewer when the source or the caller
    /// stopped it.
    pub(super) fn run(&self) -> Vec<PieceHashes> {
        let progress = Progress::default();
        for piece in self.known.keys() {
            let spans = self.geometry.spans(self.geometry.whole(*piece));
            self.control.add_hashed(spans.map(|span| u64::from(span.len)).sum());
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let count = self.geometry.piece_count();
        let batch_len = u64::from(self.geometry.nominal_piece_len()).min(self.batch_bytes());
        let batches = (u64::from(count) * batch_len).div_ceil(self.batch_bytes());
        let threads = cores.min(batches as usize).max(1);
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(|| Worker::new(self, &progress).work());
            }
            Worker::new(self, &progress).work();
        });
        let mut hashes = progress.hashes.into_inner();
        hashes.extend(self.known.values().copied());
        hashes.sort_unstable_by_key(|hashes| hashes.piece);
        hashes
    }

    /// A batch is full with so many bytes: v1 wants a piece for each lane, v2 what stays in the cache.
    fn batch_bytes(&self) -> u64 {
        let lanes = u64::from(self.geometry.nominal_piece_len()) * LANES;
        if self.wanted.v1 { lanes.clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX) } else { BATCH_BYTES_MIN }
    }
}

/// One thread of a run.
struct Worker<'a, S> {
    job: &'a Pipeline<'a, S>,
    progress: &'a Progress,
    memory: Vec<u8>,
    open: Option<(FileIndex, File)>,
}

/// A piece in a worker's memory.
struct Loaded {
    piece: PieceIndex,
    /// Where in the memory it is.
    at: Range<usize>,
    spans: Vec<Span>,
    leaves: Vec<MerkleHash>,
}

impl<'a, S: Source> Worker<'a, S> {
    const fn new(job: &'a Pipeline<'a, S>, progress: &'a Progress) -> Self {
        Self { job, progress, memory: Vec::new(), open: None }
    }

    fn work(mut self) {
        while !self.is_stopped() {
            let batch = self.take();
            if batch.is_empty() {
                break;
            }
            let single = batch.len() == 1;
            let first = PieceIndex(batch.start);
            let long = u64::from(self.job.geometry.piece_len(first)) > BATCH_BYTES_MAX;
            let hashes = if single && long {
                self.hash_stream(first).into_iter().collect()
            } else {
                self.hash_batch(batch)
            };
            self.progress.hashes.lock().extend(hashes);
        }
        self.close();
    }

    fn is_stopped(&self) -> bool {
        self.progress.stopped.load(Ordering::Relaxed) || self.job.control.is_cancelled()
    }

    /// The next pieces for this thread.
    fn take(&self) -> Range<u32> {
        let geometry = self.job.geometry;
        let mut next = self.progress.next.lock();
        let first = *next;
        let mut bytes = 0;
        while *next < geometry.piece_count() {
            bytes += u64::from(geometry.piece_len(PieceIndex(*next)));
            if *next > first && bytes > self.job.batch_bytes() {
                break;
            }
            *next += 1;
        }
        first..*next
    }

    fn hash_batch(&mut self, batch: Range<u32>) -> Vec<PieceHashes> {
        let geometry = self.job.geometry;
        let mut loaded: Vec<Loaded> = Vec::with_capacity(batch.len());
        let (mut end, mut leaves_from, mut unhashed) = (0, 0, 0);
        for piece in batch.map(PieceIndex).filter(|piece| !self.job.known.contains_key(piece)) {
            let at = end..end + geometry.piece_len(piece) as usize;
            let spans: Vec<Span> = geometry.spans(geometry.whole(piece)).collect();
            if self.memory.len() < at.end {
                self.memory.resize(at.end, 0);
            }
            if self.is_stopped() || !self.load(at.start, &spans) {
                continue;
            }
            end = at.end;
            unhashed += spans.iter().map(|span| u64::from(span.len)).sum::<u64>();
            loaded.push(Loaded { piece, at, spans, leaves: Vec::new() });
            if self.job.wanted.v2 && unhashed >= LEAVES_BYTES {
                self.hash_leaves(&mut loaded[leaves_from..]);
                (leaves_from, unhashed) = (loaded.len(), 0);
            }
        }
        if self.job.wanted.v2 {
            self.hash_leaves(&mut loaded[leaves_from..]);
        }
        let v1 = if self.job.wanted.v1 { self.hash_v1(&loaded) } else { Vec::new() };
        let mut v1 = v1.into_iter().map(PieceHash);
        let hashes = loaded.iter().map(|loaded| {
            let content = loaded.spans.iter().map(|span| u64::from(span.len)).sum();
            self.job.control.add_hashed(content);
            let v2 = self.node_of(&loaded.spans, &loaded.leaves);
            PieceHashes { piece: loaded.piece, v1: v1.next(), v2 }
        });
        hashes.collect()
    }

    /// Hashes the blocks of the pieces, of which each lies in one file.
    fn hash_leaves(&self, pieces: &mut [Loaded]) {
        let data = |piece: &Loaded| {
            let len = piece.spans.first().map_or(0, |span| span.len as usize);
            self.memory[piece.at.start..piece.at.start + len].chunks(BLOCK_LEN as usize)
        };
        let blocks: Vec<&[u8]> = pieces.iter().flat_map(data).collect();
        let mut hashes = vec![[0; MerkleHash::LEN]; blocks.len()];
        digest::sha256_many(&blocks, &mut hashes);
        let mut hashes = hashes.into_iter().map(MerkleHash);
        for piece in pieces {
            let count = data(piece).len();
            piece.leaves = hashes.by_ref().take(count).collect();
        }
    }

    /// The node over the leaves of a piece that lies in one file.
    fn node_of(&self, spans: &[Span], leaves: &[MerkleHash]) -> Option<MerkleHash> {
        if !self.job.wanted.v2 {
            return None;
        }
        let file_len = self.job.source.file_len(spans.first()?.file);
        let shape = TreeShape::new(file_len, self.job.geometry.nominal_piece_len())?;
        Some(merkle::root(leaves, 1 << shape.piece_layer()))
    }

    fn hash_v1(&self, pieces: &[Loaded]) -> Vec<[u8; 20]> {
        let parts: Vec<Vec<Part<'_>>> = pieces
            .iter()
            .map(|piece| parts(&self.memory[piece.at.clone()], &piece.spans))
            .collect();
        let messages: Vec<&[Part<'_>]> = parts.iter().map(Vec::as_slice).collect();
        let mut hashes = vec![[0; 20]; messages.len()];
        digest::sha1_many(&messages, &mut hashes);
        hashes
    }

    /// A piece too long for the memory of a batch, in runs of whole blocks.
    fn hash_stream(&mut self, piece: PieceIndex) -> Option<PieceHashes> {
        let geometry = self.job.geometry;
        if self.job.known.contains_key(&piece) {
            return None;
        }
        let whole = geometry.whole(piece);
        let spans: Vec<Span> = geometry.spans(whole).collect();
        let (mut sha1, mut leaves) = (digest::Sha1::new(), Vec::new());
        self.memory.resize(BATCH_BYTES_MIN as usize, 0);
        let mut begin = 0;
        while begin < whole.len {
            let len = (whole.len - begin).min(BATCH_BYTES_MIN as u32);
            let run = proto::Block { piece, begin, len };
            let spans: Vec<Span> = geometry
                .spans(run)
                .map(|span| Span { begin: span.begin - begin, ..span })
                .collect();
            if self.is_stopped() || !self.load(0, &spans) {
                return None;
            }
            if self.job.wanted.v1 {
                self.memory_gaps(&spans, len as usize);
                sha1.update(&self.memory[..len as usize]);
            }
            if self.job.wanted.v2 {
                let mut run = [Loaded { piece, at: 0..len as usize, spans, leaves: Vec::new() }];
                self.hash_leaves(&mut run);
                let [run] = run;
                leaves.extend(run.leaves);
            }
            begin += len;
        }
        self.job.control.add_hashed(spans.iter().map(|span| u64::from(span.len)).sum());
        let v1 = self.job.wanted.v1.then(|| PieceHash(sha1.finish()));
        Some(PieceHashes { piece, v1, v2: self.node_of(&spans, &leaves) })
    }

    /// Zeroes what no span covers in the first `len` bytes.
    fn memory_gaps(&mut self, spans: &[Span], len: usize) {
        let mut at = 0;
        for span in spans {
            self.memory[at..span.begin as usize].fill(0);
            at = (span.begin + span.len) as usize;
        }
        self.memory[at..len].fill(0);
    }

    /// Reads the spans to their places behind `at`; false when some of it cannot be had.
    fn load(&mut self, at: usize, spans: &[Span]) -> bool {
        spans.iter().all(|span| match self.load_span(at, span) {
            Ok(()) => true,
            Err(fault) => {
                self.open = None;
                self.on_fault(span.file, fault);
                false
            }
        })
    }

    fn load_span(&mut self, at: usize, span: &Span) -> Result<(), Fault> {
        if self.open.as_ref().is_none_or(|(file, _)| *file != span.file) {
            self.close();
            self.open = Some((span.file, self.job.source.open(span.file)?));
        }
        let Some((_, file)) = &self.open else { return Ok(()) };
        let from = at + span.begin as usize;
        let into = &mut self.memory[from..from + span.len as usize];
        file.read_exact_at(into, span.file_offset).map_err(|error| {
            let short = error.kind() == io::ErrorKind::UnexpectedEof;
            if short { Fault::Short } else { Fault::Io(error) }
        })
    }

    fn close(&mut self) {
        if let Some((file, opened)) = self.open.take()
            && let Err(fault) = self.job.source.close(file, &opened)
        {
            self.on_fault(file, fault);
        }
    }

    fn on_fault(&self, file: FileIndex, fault: Fault) {
        if !self.job.source.handle_fault(file, fault) {
            self.progress.stopped.store(true, Ordering::Relaxed);
        }
    }
}

/// A piece as v1 hashes it: the files' bytes, and zeros in between.
fn parts<'a>(bytes: &'a [u8], spans: &[Span]) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(2 * spans.len() + 1);
    let mut at = 0;
    for span in spans {
        let (begin, end) = (span.begin as usize, (span.begin + span.len) as usize);
        parts.push(Part::Zeros((begin - at) as u64));
        parts.push(Part::Bytes(&bytes[begin..end]));
        at = end;
    }
    parts.push(Part::Zeros((bytes.len() - at) as u64));
    parts
}

/// Lanes that SHA-1 has at most.
const LANES: u64 = 16;
/// Bytes that are read in one go at least, if there are so many.
const BATCH_BYTES_MIN: u64 = 1 << 20;
/// Bytes in a thread's memory at most. Longer pieces are rare, and a stream of SHA instructions is
/// still faster than most disks.
const BATCH_BYTES_MAX: u64 = 32 << 20;
/// Bytes after which leaves are hashed: enough for all lanes, and still in the cache.
const LEAVES_BYTES: u64 = LANES * BLOCK_LEN as u64;

const _: () = assert!(BATCH_BYTES_MIN.is_multiple_of(BLOCK_LEN as u64));
