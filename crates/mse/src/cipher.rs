//! RC4 as it is used here: without its first, weak, kilobyte.
//!
//! Each byte of the key stream swaps two of 256 values, so the work is one long chain of loads and stores.
//! Values of 32 bits and a load of the next one before the swap is stored keep it short: over 1.5 times as fast
//! as a loop over bytes (`cargo run --release -p teem-mse --example cipher_speed`).

/// The cipher of one direction. Encrypts and decrypts alike.
pub struct Cipher {
    /// A permutation of 0 to 255.
    state: [u32; STATES],
    /// Where the next swap is, and where the last one went.
    at: usize,
    with: u32,
}

const STATES: usize = 256;

/// Bytes of the key stream that are thrown away.
const WEAK_LEN: usize = 1_024;

impl Cipher {
    /// The cipher of a key.
    #[must_use]
    pub fn new(key: &[u8; 20]) -> Self {
        let mut cipher = Self::keyed(key);
        cipher.apply(&mut [0; WEAK_LEN]);
        cipher
    }

    fn keyed(key: &[u8]) -> Self {
        let mut state = std::array::from_fn(|value| value as u32);
        let mut with = 0;
        for at in 0..STATES {
            with = wrapped(with + state[at] + u32::from(key[at % key.len()]));
            state.swap(at, with as usize);
        }
        Self { state, at: 1, with: 0 }
    }

    /// Turns the next bytes of the stream into noise, or back.
    // Within a caller's loop its places do not stay in registers: half as fast.
    #[inline(never)]
    pub fn apply(&mut self, bytes: &mut [u8]) {
        let Self { state, at, with } = self;
        let mut stream = KeyStream { first: state[*at], state, at: *at, with: *with };
        let mut words = bytes.chunks_exact_mut(8);
        for word in &mut words {
            let key: [u8; 8] = std::array::from_fn(|_| stream.next());
            word.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        }
        words.into_remainder().iter_mut().for_each(|byte| *byte ^= stream.next());
        (*at, *with) = (stream.at, stream.with);
    }

    /// Appends bytes as noise.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        let start = out.len();
        out.extend_from_slice(bytes);
        self.apply(&mut out[start..]);
    }
}

/// What bytes are mixed with. Its places are copies, to be kept in registers.
struct KeyStream<'a> {
    state: &'a mut [u32; STATES],
    at: usize,
    with: u32,
    /// The value where the next swap is.
    first: u32,
}

impl KeyStream<'_> {
    #[inline]
    fn next(&mut self) -> u8 {
        let (at, first) = (self.at, self.first);
        self.with = wrapped(self.with + first);
        let with = self.with as usize;
        let second = self.state[with];
        // Before the stores, so that it need not wait for them; unless it is what one of them changes.
        self.at = (at + 1) % STATES;
        let next = self.state[self.at];
        self.state[at] = second;
        self.state[with] = first;
        self.first = if self.at == with { first } else { next };
        self.state[wrapped(first + second) as usize] as u8
    }
}

/// Modulo 256.
const fn wrapped(value: u32) -> u32 {
    value & 0xff
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key stream of a key, from its first byte on.
    fn stream(key: &[u8], len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        Cipher::keyed(key).apply(&mut bytes);
        bytes
    }

    #[test]
    fn the_key_stream_is_that_of_rfc_6229() {
        let short = stream(&[1, 2, 3, 4, 5], 4_112);
        assert_eq!(short[..8], [0xb2, 0x39, 0x63, 0x05, 0xf0, 0x3d, 0xc0, 0x27]);
        assert_eq!(short[4_096..4_104], [0xff, 0x25, 0xb5, 0x89, 0x95, 0x99, 0x67, 0x07]);
        let key: Vec<u8> = (1..=16).collect();
        let long = stream(&key, 1_040);
        assert_eq!(long[..8], [0x9a, 0xc7, 0xcc, 0x9a, 0x60, 0x9d, 0x1e, 0xf7]);
        assert_eq!(long[1_024..1_032], [0xbd, 0xf0, 0x32, 0x4e, 0x60, 0x83, 0xdc, 0xc6]);
    }

    #[test]
    fn it_does_not_matter_how_bytes_are_cut() {
        let whole = stream(b"key", 10_000);
        let mut cut = vec![0; 10_000];
        let mut cipher = Cipher::keyed(b"key");
        let mut rest = &mut cut[..];
        for len in (0..).map(|number| number * 7 % 61) {
            let (part, more) = rest.split_at_mut(len.min(rest.len()));
            cipher.apply(part);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(cut, whole);
    }

    #[test]
    fn the_weak_beginning_is_left_out() {
        let mut bytes = [0; 16];
        Cipher::new(&[7; 20]).apply(&mut bytes);
        assert_eq!(bytes, stream(&[7; 20], WEAK_LEN + 16)[WEAK_LEN..]);
    }
}
