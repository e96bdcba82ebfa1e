//! Message stream encryption (MSE, also called PE): a handshake that looks like noise, before the one
//! of BitTorrent.
//!
//! It hides what is spoken from whoever shapes traffic by pattern. It is no secrecy: the key is the info
//! hash, and who knows it can sit in between. There is no BEP; the rules are those of the Vuze wiki,
//! "Message Stream Encryption":
//!
//! ```text
//! 1 A->B: Ya, PadA
//! 2 B->A: Yb, PadB
//! 3 A->B: SHA1("req1", S), SHA1("req2", SKEY) xor SHA1("req3", S),
//!         ENCRYPT(VC, crypto_provide, len(PadC), PadC, len(IA)), ENCRYPT(IA)
//! 4 B->A: ENCRYPT(VC, crypto_select, len(PadD), PadD), the stream as selected
//! 5 A->B: the stream as selected
//! ```
//!
//! `Y` are the Diffie-Hellman keys and `S` their secret; SKEY is the info hash; VC are eight zeros; IA is
//! the beginning of A's stream. [`Caller`] is A, [`Answerer`] is B: bytes go in, bytes come out, and in
//! the end a [`Settled`]. Nothing is sent that could be told from noise before the other side has shown that
//! it knows the info hash.
#![forbid(unsafe_code)]

mod answerer;
mod caller;
mod cipher;
mod keys;
mod limits;
mod reader;

pub use answerer::Answerer;
pub use caller::Caller;
pub use cipher::Cipher;
pub use keys::torrent_key;
pub use limits::PAD_LEN_MAX;

/// The random numbers of one handshake.
#[derive(Clone)]
pub struct Chance {
    /// The secret half of the Diffie-Hellman key.
    pub secret: [u8; 20],
    /// Sent behind the public half, at most [`PAD_LEN_MAX`] bytes of any length.
    pub pad: Vec<u8>,
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance(..)")
    }
}

/// How the stream after the handshake may travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Methods {
    /// In plain bytes, which cost nothing, or RC4 if the other side insists.
    Any,
    /// RC4 only.
    Rc4,
}

/// How the stream after the handshake travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Plain,
    Rc4,
}

/// Both sides' proof that they have the same keys.
pub(crate) const CONSTANT: [u8; 8] = [0; 8];

impl Methods {
    /// What we offer.
    const fn provide(self) -> u32 {
        match self {
            Self::Any => Method::Plain.bit() | Method::Rc4.bit(),
            Self::Rc4 => Method::Rc4.bit(),
        }
    }
}

impl Method {
    /// Its bit in an offer.
    pub(crate) const fn bit(self) -> u32 {
        match self {
            Self::Plain => 1,
            Self::Rc4 => 2,
        }
    }

    /// The best one of an offer.
    pub(crate) fn choose(offer: u32, methods: Methods) -> Result<Self, MseError> {
        let common = offer & methods.provide();
        let best = [Self::Plain, Self::Rc4].into_iter().find(|method| common & method.bit() != 0);
        best.ok_or(MseError::NoMethod)
    }

    /// The one that the other side chose of ours.
    pub(crate) fn selected(selection: u32, methods: Methods) -> Result<Self, MseError> {
        let chosen = [Self::Plain, Self::Rc4].into_iter().find(|method| selection == method.bit());
        chosen.filter(|method| methods.provide() & method.bit() != 0).ok_or(MseError::NoMethod)
    }
}

/// What both sides have come to.
#[derive(Debug)]
pub struct Settled {
    /// The ciphers of both directions; `None` when the stream goes on in plain bytes.
    pub ciphers: Option<Ciphers>,
    /// What has come of the other side's stream, in plain bytes.
    pub received: Vec<u8>,
}

/// The ciphers of both directions.
#[derive(Debug)]
pub struct Ciphers {
    /// For what we send.
    pub ours: Cipher,
    /// For what we receive.
    pub theirs: Cipher,
}

impl Settled {
    /// `beginning` is plain already; `rest` came behind it, as selected.
    pub(crate) fn new(
        mut ciphers: Ciphers,
        method: Method,
        beginning: Vec<u8>,
        mut rest: Vec<u8>,
    ) -> Self {
        let ciphers = match method {
            Method::Plain => None,
            Method::Rc4 => {
                ciphers.theirs.apply(&mut rest);
                Some(ciphers)
            }
        };
        let mut received = beginning;
        received.append(&mut rest);
        Self { ciphers, received }
    }
}

/// Why there is no connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MseError {
    /// The public key is one that gives no secret.
    #[error("the peer's Diffie-Hellman key is of no use")]
    BadKey,
    /// What must come after the padding did not come.
    #[error("no sign of encryption after {} bytes", limits::SYNC_LEN_MAX)]
    NoSync,
    /// It is for another torrent.
    #[error("encrypted for a torrent that is not ours")]
    OtherTorrent,
    /// The keys differ.
    #[error("the verification constant is wrong")]
    BadConstant,
    /// A length beyond what is allowed.
    #[error("{what} of {len} bytes; at most {max} are allowed")]
    TooLong {
        /// Of what.
        what: &'static str,
        /// Bytes.
        len: usize,
        /// Allowed bytes.
        max: usize,
    },
    /// Nothing that both sides can do.
    #[error("no method of encryption in common")]
    NoMethod,
}

#[cfg(test)]
mod tests;
