//! A secret that proves who somebody is.

use std::fmt;

/// What a caller sends to be known. Never shown; only its SHA-256 is stored or compared.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A new one: 256 random bits as text.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", hex(&random)))
    }

    /// Reads one. `None` for what no good secret looks like: too short, too long, or not of visible
    /// ASCII characters.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (LEN_MIN..=LEN_MAX).contains(&text.len());
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        (fits && visible).then(|| Self(text.to_owned()))
    }

    /// The secret itself, for whom it belongs to.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored in its place: with 256 bits of chance behind it no salt is needed.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest::sha256(self.0.as_bytes())
    }

    /// Tells it from others in public.
    pub(super) fn fingerprint(&self) -> String {
        hex(&self.digest()[..FINGERPRINT_LEN])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const PREFIX: &str = "teem_";
/// Shorter ones can be guessed.
const LEN_MIN: usize = 16;
const LEN_MAX: usize = 200;
const FINGERPRINT_LEN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::new([7; 32]);
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        assert_eq!(Secret::parse(secret.reveal()).as_ref(), Some(&secret));
        assert_eq!(secret.reveal().len(), PREFIX.len() + 64);
    }

    #[test]
    fn what_can_be_guessed_or_is_no_text_is_no_secret() {
        for bad in [
            "",
            "short",
            "fifteen-letters",
            "with a space in it",
            "zeilenende-hier\n",
            "ümlautümlaut",
        ] {
            assert_eq!(Secret::parse(bad), None, "{bad:?}");
        }
        assert_eq!(Secret::parse(&"x".repeat(LEN_MAX + 1)), None);
    }
}
