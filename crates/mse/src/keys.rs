//! The Diffie-Hellman exchange, and the keys that come of its secret.

use crypto_bigint::modular::{ConstMontyForm, ConstMontyParams as _};
use crypto_bigint::{U192, U768, const_monty_params};
use digest::Sha1;
use proto::InfoHash;

use crate::cipher::Cipher;
use crate::{Ciphers, MseError};

/// Bytes of a public key and of the secret.
pub(crate) const KEY_LEN: usize = 96;

const_monty_params!(
    Prime,
    U768,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74\
     020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437\
     4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
    "The prime that all clients share."
);

type Number = ConstMontyForm<Prime, { U768::LIMBS }>;

const GENERATOR: u8 = 2;

/// Our half of the exchange.
pub(crate) struct Secret(U192);

impl Secret {
    pub(crate) fn new(bytes: &[u8; 20]) -> Self {
        let mut wide = [0; 24];
        wide[4..].copy_from_slice(bytes);
        Self(U192::from_be_slice(&wide))
    }

    /// What the other side gets.
    pub(crate) fn public(&self) -> [u8; KEY_LEN] {
        self.raise(U768::from_u8(GENERATOR))
    }

    /// What both sides know, and nobody else.
    ///
    /// # Errors
    /// When the public key is 0, 1, or -1 modulo the prime: then everybody would know it.
    pub(crate) fn shared(&self, public: &[u8; KEY_LEN]) -> Result<Shared, MseError> {
        let public = U768::from_be_slice(public);
        let largest = Prime::PARAMS.modulus().as_ref().wrapping_sub(&U768::ONE);
        if public <= U768::ONE || public >= largest {
            return Err(MseError::BadKey);
        }
        Ok(Shared(self.raise(public)))
    }

    fn raise(&self, base: U768) -> [u8; KEY_LEN] {
        let power = Number::new(&base).pow_bounded_exp(&self.0, 8 * 20);
        let mut bytes = [0; KEY_LEN];
        bytes.copy_from_slice(power.retrieve().to_be_bytes().as_ref());
        bytes
    }
}

/// The secret of both sides.
pub(crate) struct Shared([u8; KEY_LEN]);

impl Shared {
    /// Marks where the caller's padding ends.
    pub(crate) fn mark(&self) -> [u8; 20] {
        hash(&[b"req1", &self.0])
    }

    /// Names a torrent to who knows it, and to nobody else; also turns the name back into
    /// [`torrent_key`]'s.
    pub(crate) fn cover(&self, torrent: [u8; 20]) -> [u8; 20] {
        let cover = hash(&[b"req3", &self.0]);
        std::array::from_fn(|at| torrent[at] ^ cover[at])
    }

    /// The caller's cipher and the answerer's.
    pub(crate) fn ciphers(&self, torrent: InfoHash) -> (Cipher, Cipher) {
        let key = |name: &[u8]| Cipher::new(&hash(&[name, &self.0, torrent.as_bytes()]));
        (key(b"keyA"), key(b"keyB"))
    }
}

/// What an [`Answerer`](crate::Answerer) is asked for in place of an info hash. To be kept beside each
/// torrent, so that nobody has to hash all of them for each caller.
#[must_use]
pub fn torrent_key(info_hash: InfoHash) -> [u8; 20] {
    hash(&[b"req2", info_hash.as_bytes()])
}

fn hash(parts: &[&[u8]]) -> [u8; 20] {
    let mut sha1 = Sha1::new();
    parts.iter().for_each(|part| sha1.update(part));
    sha1.finish()
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared(..)")
    }
}

/// Which is ours.
pub(crate) fn as_caller((caller, answerer): (Cipher, Cipher)) -> Ciphers {
    Ciphers { ours: caller, theirs: answerer }
}

/// Which is ours.
pub(crate) fn as_answerer((caller, answerer): (Cipher, Cipher)) -> Ciphers {
    Ciphers { ours: answerer, theirs: caller }
}
