//! Tokens: what a private tracker knows its callers by.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Owner, Passkey, Scope, Secret, TOKEN};

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its number.
    pub id: TokenId,
    /// Whose it is. All tokens of one name own the same entries.
    pub name: String,
    /// Words for whoever administers the tracker.
    pub note: String,
    /// What it allows.
    pub scope: Scope,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// When it ends, if it does, in seconds since 1970.
    pub expires: Option<i64>,
    /// It was taken back.
    pub revoked: bool,
}

/// A token's number; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenId(pub i64);

/// What a token is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// Whose it is: 1 to 64 letters, digits, `-`, `_`, `.` or `@`.
    pub name: String,
    /// Words for whoever administers the tracker, at most 200 bytes.
    pub note: String,
    /// What it allows.
    pub scope: Scope,
    /// How long it is good, in seconds.
    pub life_secs: Option<i64>,
}

/// Why there can be no such token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Its name.
    #[error("a token's name has 1 to 64 letters, digits, \"-\", \"_\", \".\" or \"@\"")]
    Name,
    /// Its note.
    #[error("a token's note has at most 200 bytes and no control characters")]
    Note,
    /// Its life.
    #[error("a token lives at least one second and at most a hundred years")]
    Life,
}

impl NewToken {
    /// Checks what people may write.
    ///
    /// # Errors
    /// Says which rule is broken.
    pub fn check(&self) -> Result<(), TokenError> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
        if !(1..=NAME_LEN_MAX).contains(&self.name.len()) || !self.name.bytes().all(fits) {
            return Err(TokenError::Name);
        }
        if self.note.len() > NOTE_LEN_MAX || self.note.chars().any(char::is_control) {
            return Err(TokenError::Note);
        }
        if self.life_secs.is_some_and(|secs| !(1..=LIFE_SECS_MAX).contains(&secs)) {
            return Err(TokenError::Life);
        }
        Ok(())
    }
}

impl Token {
    /// It still allows what it says.
    #[must_use]
    pub fn is_live(&self, now: i64) -> bool {
        !self.revoked && self.expires.is_none_or(|end| now < end)
    }

    /// Who its holder is.
    pub(super) fn owner(&self) -> Owner {
        Owner::stored(format!("{TOKEN}{}", self.name))
    }
}

/// All tokens that may still be live, by the digests of what their holders send.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_secret: HashMap<[u8; 32], Arc<Token>>,
    by_passkey: HashMap<[u8; 32], Arc<Token>>,
    by_id: HashMap<TokenId, Arc<Token>>,
}

/// A token and the digests that it is found by.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) token: Token,
    pub(super) secret: [u8; 32],
    pub(super) passkey: [u8; 32],
}

impl Tokens {
    pub(super) fn new(stored: Vec<Stored>) -> Self {
        let mut tokens = Self::default();
        for Stored { token, secret, passkey } in stored {
            let token = Arc::new(token);
            tokens.by_secret.insert(secret, Arc::clone(&token));
            tokens.by_passkey.insert(passkey, Arc::clone(&token));
            tokens.by_id.insert(token.id, token);
        }
        tokens
    }

    pub(super) fn of_secret(&self, now: i64, secret: &Secret) -> Option<&Token> {
        live(self.by_secret.get(&secret.digest()), now)
    }

    pub(super) fn of_passkey(&self, now: i64, passkey: &Passkey) -> Option<&Token> {
        live(self.by_passkey.get(&passkey.digest()), now)
    }

    pub(super) fn scope_of(&self, now: i64, id: TokenId) -> Option<Scope> {
        live(self.by_id.get(&id), now).map(|token| token.scope)
    }
}

fn live(token: Option<&Arc<Token>>, now: i64) -> Option<&Token> {
    token.map(|token| &**token).filter(|token| token.is_live(now))
}

const NAME_LEN_MAX: usize = 64;
const NOTE_LEN_MAX: usize = 200;
const LIFE_SECS_MAX: i64 = 100 * 366 * 24 * 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    fn new(name: &str, note: &str, life_secs: Option<i64>) -> Result<(), TokenError> {
        let (name, note) = (name.to_owned(), note.to_owned());
        NewToken { name, note, scope: Scope::Read, life_secs }.check()
    }

    #[test]
    fn names_notes_and_lives_are_bounded() {
        assert_eq!(new("anna@nas.lan", "her laptop", Some(60)), Ok(()));
        assert_eq!(new(&"n".repeat(64), "", None), Ok(()));
        for name in ["", "a b", "a/b", "ü", &"n".repeat(65)] {
            assert_eq!(new(name, "", None), Err(TokenError::Name), "{name}");
        }
        assert_eq!(new("a", "two\nlines", None), Err(TokenError::Note));
        assert_eq!(new("a", &"n".repeat(201), None), Err(TokenError::Note));
        for life in [0, -1, i64::MAX] {
            assert_eq!(new("a", "", Some(life)), Err(TokenError::Life), "{life}");
        }
    }

    #[test]
    fn a_token_ends_when_it_expires_or_is_revoked() {
        let (name, note) = ("anna".to_owned(), String::new());
        let (scope, expires) = (Scope::Read, Some(100));
        let token =
            Token { id: TokenId(1), name, note, scope, created: 0, expires, revoked: false };
        assert!(token.is_live(99));
        assert!(!token.is_live(100));
        assert!(!Token { revoked: true, ..token.clone() }.is_live(1));
        assert!(Token { expires: None, ..token }.is_live(i64::MAX));
    }
}
