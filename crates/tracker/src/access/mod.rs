//! Who may do what.
//!
//! An open tracker lets everybody read and publish; whoever sends a secret of their own choice owns
//! what they publish under it. A private one knows its callers by tokens.

mod secret;
mod store;
mod token;

use std::sync::Arc;

use parking_lot::RwLock;
use proto::tracker::{Refusal, RetryIn};
use tokio_util::sync::CancellationToken;

pub use secret::{Passkey, Secret};
pub use store::{TokenStore, TokenStoreError};
pub use token::{NewToken, Token, TokenError, TokenId};

use crate::limits::TOKENS_EVERY;
use store::Version;
use token::Tokens;

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

impl Scope {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Admin => "admin",
        }
    }

    /// The scope of a word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Read, Self::Publish, Self::Admin].into_iter().find(|scope| scope.name() == name)
    }
}

/// Who owns a name: whoever shows the same secret, or, on a private tracker, a token of the same name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(String);

impl Owner {
    /// The holder of a secret that nobody issued.
    fn of_secret(secret: &Secret) -> Self {
        Self(format!("{KEY}{}", secret.fingerprint()))
    }

    /// As it was stored.
    pub(crate) const fn stored(text: String) -> Self {
        Self(text)
    }

    /// The holder of a token, or of a secret.
    pub(crate) fn is_known(&self) -> bool {
        self.is_token() || self.0.starts_with(KEY)
    }

    /// The holder of a token.
    pub(crate) fn is_token(&self) -> bool {
        self.0.starts_with(TOKEN)
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
    /// The token that they showed.
    pub token: Option<TokenId>,
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
pub struct Access {
    /// None when everybody may read and publish.
    private: Option<Private>,
}

#[derive(Debug)]
struct Private {
    store: TokenStore,
    known: RwLock<Known>,
}

#[derive(Debug)]
struct Known {
    tokens: Tokens,
    version: Version,
}

impl Access {
    /// Everybody may read and publish.
    #[must_use]
    pub const fn open() -> Self {
        Self { private: None }
    }

    /// Only who has a token may do what it allows. At the first start an administrator's token is made:
    /// its secret is told here and never again. Blocks.
    ///
    /// # Errors
    /// When the database fails.
    pub fn private(store: TokenStore) -> Result<(Self, Option<Secret>), TokenStoreError> {
        let first = store.first_admin(unix_now())?;
        let (version, stored) = (store.version()?, store.load()?);
        let known = RwLock::new(Known { tokens: Tokens::new(stored), version });
        Ok((Self { private: Some(Private { store, known }) }, first))
    }

    /// Callers need a token.
    #[must_use]
    pub const fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Who sends this secret, or none.
    ///
    /// # Errors
    /// When they may not even read.
    pub fn caller(&self, secret: Option<&Secret>) -> Result<Caller, Denied> {
        let Some(private) = &self.private else {
            let owner = secret.map(Owner::of_secret);
            return Ok(Caller { scope: Scope::Publish, owner, token: None });
        };
        let known = private.known.read();
        let token = known.tokens.of_secret(unix_now(), secret.ok_or(Denied::NoToken)?);
        let token = token.ok_or(Denied::BadToken)?;
        Ok(Caller { scope: token.scope, owner: Some(token.owner()), token: Some(token.id) })
    }

    /// Who sends this secret, or none, to the operator's own port. Where everybody may do everything
    /// but administer, reaching that port is what shows an operator.
    ///
    /// # Errors
    /// When they may not administer.
    pub fn admin(&self, secret: Option<&Secret>) -> Result<Caller, Denied> {
        if self.is_private() {
            return self.caller(secret)?.with(Scope::Admin);
        }
        Ok(Caller { scope: Scope::Admin, owner: secret.map(Owner::of_secret), token: None })
    }

    /// Whether an announce or a scrape with this passkey, or none, is answered.
    ///
    /// # Errors
    /// When it is not.
    pub fn announcer(&self, passkey: Option<&Passkey>) -> Result<(), Denied> {
        let Some(private) = &self.private else { return Ok(()) };
        let known = private.known.read();
        let token = known.tokens.of_passkey(unix_now(), passkey.ok_or(Denied::NoToken)?);
        token.map(|_| ()).ok_or(Denied::BadToken)
    }

    /// What may still be done by who once showed a token: `None` when it is live no more.
    #[must_use]
    pub fn scope_of(&self, token: Option<TokenId>) -> Option<Scope> {
        let Some(private) = &self.private else { return Some(Scope::Publish) };
        private.known.read().tokens.scope_of(unix_now(), token?)
    }

    /// Where tokens are kept; an open tracker has none.
    #[must_use]
    pub fn tokens(&self) -> Option<&TokenStore> {
        self.private.as_ref().map(|private| &private.store)
    }

    /// Takes in what has changed among the tokens, whoever changed it. Blocks.
    ///
    /// # Errors
    /// When the database fails: what was known stays.
    pub fn refresh(&self) -> Result<(), TokenStoreError> {
        let Some(private) = &self.private else { return Ok(()) };
        let version = private.store.version()?;
        if private.known.read().version != version {
            let tokens = Tokens::new(private.store.load()?);
            *private.known.write() = Known { tokens, version };
        }
        Ok(())
    }
}

/// Takes in changes among the tokens, whoever made them, until the tracker stops.
pub(crate) async fn watch(access: Arc<Access>, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(TOKENS_EVERY);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = stop.cancelled() => return,
        }
        let access = Arc::clone(&access);
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || access.refresh()).await {
            tracing::error!(%error, "reading the tokens");
        }
    }
}
/// Begin the two kinds of owners as they are stored.
const KEY: &str = "key:";
const TOKEN: &str = "token:";

fn unix_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

impl Denied {
    /// In the words of an announce's refusal. Asking again without another URL is of no use (BEP 31).
    pub(crate) fn refusal(self) -> Refusal {
        let reason = match self {
            Self::NoToken => {
                "this tracker is private: the announce URL needs your passkey, as in /PASSKEY/announce"
            }
            Self::BadToken | Self::Scope => "the passkey in the announce URL is not valid",
        };
        Refusal { reason: reason.into(), retry: Some(RetryIn::Never) }
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
