//! One message at a time, whole or as it comes.
//!
//! The block functions of the `sha1` and `sha2` crates do the work: they use the processor's SHA
//! instructions where it has them.

use sha1::Digest as _;

/// The SHA-1 of `message`.
#[must_use]
pub fn sha1(message: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(message).into()
}

/// The SHA-256 of `message`.
#[must_use]
pub fn sha256(message: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(message).into()
}

macro_rules! stream {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name($inner);

        impl $name {
            /// Nothing hashed yet.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            /// Adds the next bytes of the message.
            pub fn update(&mut self, bytes: &[u8]) {
                self.0.update(bytes);
            }

            /// The hash of everything added.
            #[must_use]
            pub fn finish(self) -> [u8; $len] {
                self.0.finalize().into()
            }
        }
    };
}

stream! {
    /// SHA-1 of a message that comes in parts.
    Sha1, sha1::Sha1, 20
}
stream! {
    /// SHA-256 of a message that comes in parts.
    Sha256, sha2::Sha256, 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn fips_180_examples() {
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(hex(&sha1(two_blocks)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
        assert_eq!(
            hex(&sha256(b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(
            hex(&sha256(two_blocks)),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        );
    }

    #[test]
    fn parts_hash_as_the_whole() {
        let message: Vec<u8> = (0..1000_u32).map(|i| (i * 7) as u8).collect();
        let (mut one, mut two) = (Sha1::new(), Sha256::new());
        for part in message.chunks(33) {
            one.update(part);
            two.update(part);
        }
        assert_eq!((one.finish(), two.finish()), (sha1(&message), sha256(&message)));
    }
}
