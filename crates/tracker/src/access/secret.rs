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

    /// What announces carry in its place, since announce URLs end up in torrent files. It cannot be
    /// turned back into the secret.
    #[must_use]
    pub fn passkey(&self) -> Passkey {
        let mut message = PASSKEY_CONTEXT.to_vec();
        message.extend_from_slice(self.0.as_bytes());
        Passkey(hex(&digest::sha256(&message)[..PASSKEY_LEN / 2]))
    }

    /// Tells it from others in public.
    pub(super) fn fingerprint(&self) -> String {
        hex(&self.digest()[..FINGERPRINT_LEN])
    }
}

/// The part of an announce URL that tells a private tracker who announces: `/PASSKEY/announce`, 40 hex
/// digits. It allows announces and scrapes, nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Passkey(String);

impl Passkey {
    /// The passkey in an announce URL's path and query, if its first part is one.
    #[must_use]
    pub fn in_path(path: &str) -> Option<Self> {
        let first = path.strip_prefix('/')?.split(['/', '?']).next()?;
        let fits = first.len() == PASSKEY_LEN
            && first.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        fits.then(|| Self(first.to_owned()))
    }

    /// The passkey itself, for whom it belongs to.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored in its place.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest::sha256(self.0.as_bytes())
    }
}

impl fmt::Debug for Passkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passkey(..)")
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
/// Hex digits.
const PASSKEY_LEN: usize = 40;
const PASSKEY_CONTEXT: &[u8] = b"teem passkey 1\n";

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
    fn passkeys_stand_first_in_the_path() {
        let passkey = Secret::new([7; 32]).passkey();
        let key = passkey.reveal();
        for path in ["/KEY/announce", "/KEY/announce?x=1", "/KEY", "/KEY?x"] {
            let found = Passkey::in_path(&path.replace("KEY", key));
            assert_eq!(found.as_ref(), Some(&passkey), "{path}");
        }
        for path in ["", "/", "/announce", "KEY/announce", "/x/KEY", "/KEYa/announce"] {
            assert_eq!(Passkey::in_path(&path.replace("KEY", key)), None, "{path}");
        }
        assert_eq!(Passkey::in_path(&format!("/{}/a", key.to_uppercase())), None);
        assert_ne!(Secret::new([8; 32]).passkey(), passkey);
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
