//! What this processor can do, asked once, and how many messages each way needs to pay.

use std::sync::OnceLock;

use super::lane::{Lane, Part};
use super::{BLOCK, Kernel, LANES_MAX, Runs, States, hash_all, single};

/// A way to hash many messages, out of those that this processor has.
pub struct Backend {
    name: &'static str,
    /// From wide to narrow; the last one takes single messages.
    sha1: Vec<Kernel<5>>,
    sha256: Vec<Kernel<8>>,
}

const SHA1_INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

const SHA256_INITIAL: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// What follows a message of 64 bytes: the end mark, zeros, and its 512 bits.
const PAD_AFTER_BLOCK: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    block[0] = 0x80;
    block[BLOCK - 2] = 2;
    block
};

impl Backend {
    /// The fastest.
    #[must_use]
    pub fn best() -> &'static Self {
        &Self::available()[0]
    }

    /// The best, which mixes what is there by the number of messages; then each kernel by itself, for
    /// tests and measurements.
    #[must_use]
    pub fn available() -> &'static [Self] {
        static AVAILABLE: OnceLock<Vec<Backend>> = OnceLock::new();
        AVAILABLE.get_or_init(detect)
    }

    /// What it is called in reports.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// See [`sha1_many`](crate::sha1_many).
    ///
    /// # Panics
    /// If `out` is not as long as `messages`.
    pub fn sha1_many(&self, messages: &[&[Part<'_>]], out: &mut [[u8; 20]]) {
        assert_eq!(messages.len(), out.len(), "one hash a message");
        let lanes = messages
            .iter()
            .enumerate()
            .map(|(index, parts)| Lane::new(index, Part::Zeros(0), parts));
        hash_all(&self.sha1, SHA1_INITIAL, lanes, |index, state| {
            write_big_endian(&state, &mut out[index]);
        });
    }

    /// See [`sha256_many`](crate::sha256_many).
    ///
    /// # Panics
    /// If `out` is not as long as `messages`.
    pub fn sha256_many(&self, messages: &[&[u8]], out: &mut [[u8; 32]]) {
        assert_eq!(messages.len(), out.len(), "one hash a message");
        let lanes = messages
            .iter()
            .enumerate()
            .map(|(index, bytes)| Lane::new(index, Part::Bytes(bytes), &[]));
        hash_all(&self.sha256, SHA256_INITIAL, lanes, |index, state| {
            write_big_endian(&state, &mut out[index]);
        });
    }

    /// See [`sha256_pairs`](crate::sha256_pairs).
    ///
    /// # Panics
    /// If `out` is not half as long as `nodes`.
    pub fn sha256_pairs(&self, nodes: &[[u8; 32]], out: &mut [[u8; 32]]) {
        assert_eq!(nodes.len(), 2 * out.len(), "two nodes make one");
        let (mut pairs, mut out) = (nodes.as_flattened().as_chunks::<BLOCK>().0, out);
        while let Some(kernel) = self.sha256.iter().find(|kernel| pairs.len() >= kernel.lanes_min) {
            let count = kernel.lanes.min(pairs.len());
            let (now, later) = pairs.split_at(count);
            let (now_out, later_out) = out.split_at_mut(count);
            pair_step(kernel, now, now_out);
            (pairs, out) = (later, later_out);
        }
    }
}

/// Hashes at most as many pairs as the kernel has lanes. Each takes two steps, its block and the same
/// padding for all, so the scheduler would only be in the way.
fn pair_step(kernel: &Kernel<8>, pairs: &[[u8; BLOCK]], out: &mut [[u8; 32]]) {
    let pad: Runs<'_> = [std::slice::from_ref(&PAD_AFTER_BLOCK); LANES_MAX];
    let mut runs = pad;
    for (run, pair) in runs.iter_mut().zip(pairs) {
        *run = std::slice::from_ref(pair);
    }
    let mut states = States(SHA256_INITIAL.map(|word| [word; LANES_MAX]));
    kernel.compress(&mut states, &runs, 1);
    kernel.compress(&mut states, &pad, 1);
    for (lane, out) in out.iter_mut().enumerate() {
        write_big_endian(&states.lane(lane), out);
    }
}

fn write_big_endian(words: &[u32], out: &mut [u8]) {
    for (word, bytes) in words.iter().zip(out.as_chunks_mut().0) {
        *bytes = word.to_be_bytes();
    }
}

impl Backend {
    fn one_stream(name: &'static str) -> Self {
        Self {
            name,
            sha1: vec![Kernel { lanes: 1, lanes_min: 1, compress: single::sha1 }],
            sha256: vec![Kernel { lanes: 1, lanes_min: 1, compress: single::sha256 }],
        }
    }

    /// One kernel of each function, used from two messages on, so that its worth can be measured.
    #[cfg(target_arch = "x86_64")]
    fn only(name: &'static str, mut sha1: Kernel<5>, mut sha256: Kernel<8>) -> Self {
        (sha1.lanes_min, sha256.lanes_min) = (2, 2);
        let mut backend = Self::one_stream(name);
        backend.sha1.insert(0, sha1);
        backend.sha256.insert(0, sha256);
        backend
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> Vec<Backend> {
    vec![Backend::one_stream("one stream")]
}

/// Each kernel is used from the number of messages on at which it beats the narrower ones; the `speed`
/// example prints the table. Without the SHA instructions wide kernels pay almost at once.
#[cfg(target_arch = "x86_64")]
fn detect() -> Vec<Backend> {
    use super::x86::{avx2, avx512, sha_ni};
    use std::arch::is_x86_feature_detected as has;

    let mut best = Backend::one_stream("best");
    let mut found = vec![Backend::one_stream("one stream")];
    let sha_instructions = has!("sha") && has!("sse4.1") && has!("ssse3");
    if sha_instructions {
        let sha1 = Kernel { lanes: 2, lanes_min: 2, compress: sha_ni::sha1 };
        let sha256 = Kernel { lanes: 2, lanes_min: 2, compress: sha_ni::sha256 };
        best.sha1.insert(0, sha1);
        best.sha256.insert(0, sha256);
        found.insert(0, Backend::only("SHA-NI, 2 lanes", sha1, sha256));
    }
    if has!("avx2") {
        let lanes_min = if sha_instructions { 6 } else { 3 };
        let sha1 = Kernel { lanes: 8, lanes_min, compress: avx2::sha1 };
        let sha256 = Kernel { lanes: 8, lanes_min, compress: avx2::sha256 };
        best.sha1.insert(0, sha1);
        if !sha_instructions {
            best.sha256.insert(0, sha256);
        }
        found.insert(0, Backend::only("AVX2, 8 lanes", sha1, sha256));
    }
    if has!("avx512f") && has!("avx512bw") {
        let (min1, min256) = if sha_instructions { (5, 10) } else { (3, 3) };
        let sha1 = Kernel { lanes: 16, lanes_min: min1, compress: avx512::sha1 };
        let sha256 = Kernel { lanes: 16, lanes_min: min256, compress: avx512::sha256 };
        best.sha1.insert(0, sha1);
        best.sha256.insert(0, sha256);
        found.insert(0, Backend::only("AVX-512, 16 lanes", sha1, sha256));
    }
    found.insert(0, best);
    found
}
