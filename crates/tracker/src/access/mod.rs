//! Who may do what.
//!
//! An open tracker lets everybody read and publish; whoever sends a secret of their own choice owns
//! what they publish under it. A private one knows its callers by tokens.

mod secret;

pub use secret::Secret;

/// What a caller may do. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Search, fetch, announce.
    Read,
    /// Give names to content, and take one's own back.
    Publish,
    /// Everything: tokens, statistics, other people's names.
    Admin,
}

/// Who owns a name: whoever shows the same secret, or, on a private tracker, a token of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Owner {
    /// The holder of a secret that nobody issued.
    fn of_secret(secret: &Secret) -> Self {
        Self(format!("key:{}", secret.fingerprint()))
    }

    /// As it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Somebody who asks for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// What they may do.
    pub scope: Scope,
    /// Who they are, if they said so.
    pub owner: Option<Owner>,
}

/// Why a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody knows who asks.
    #[error("this tracker is private: a token is needed")]
    NoToken,
    /// Unknown, expired or revoked: which of these is nobody's business.
    #[error("the token is not valid")]
    BadToken,
    /// The token is for less.
    #[error("the token does not allow this")]
    Scope,
}

/// Decides who may do what.
#[derive(Debug)]
pub struct Access(());

impl Access {
    /// Everybody may read and publish.
    #[must_use]
    pub const fn open() -> Self {
        Self(())
    }

    /// Who sends this secret, or none.
    ///
    /// # Errors
    /// When they may not even read.
    pub fn caller(&self, secret: Option<&Secret>) -> Result<Caller, Denied> {
        Ok(Caller { scope: Scope::Publish, owner: secret.map(Owner::of_secret) })
    }
}

impl Caller {
    /// Goes on only for who may do that much.
    ///
    /// # Errors
    /// [`Denied::Scope`] otherwise.
    pub fn with(self, needed: Scope) -> Result<Self, Denied> {
        if self.scope >= needed { Ok(self) } else { Err(Denied::Scope) }
    }
}
