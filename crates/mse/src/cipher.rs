//! RC4 as it is used here: without its first, weak, kilobyte.

use rc4::{KeyInit as _, Rc4, StreamCipher as _};

/// The cipher of one direction. Encrypts and decrypts alike.
pub struct Cipher(Rc4);

/// Bytes of the key stream that are thrown away.
const WEAK_LEN: usize = 1_024;

impl Cipher {
    pub(crate) fn new(key: &[u8; 20]) -> Self {
        let mut cipher = Rc4::new_from_slice(key).expect("RC4 takes keys of 1 to 256 bytes");
        cipher.apply_keystream(&mut [0; WEAK_LEN]);
        Self(cipher)
    }

    /// Turns the next bytes of the stream into noise, or back.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }

    /// Appends bytes as noise.
    pub(crate) fn append(&mut self, out: &mut Vec<u8>, bytes: &[u8]) {
        let start = out.len();
        out.extend_from_slice(bytes);
        self.apply(&mut out[start..]);
    }
}

impl std::fmt::Debug for Cipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cipher(..)")
    }
}
