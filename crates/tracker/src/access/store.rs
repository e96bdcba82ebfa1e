//! Tokens on the disk, in the tracker's database.
//!
//! Whoever may write to the tracker's data folder may make and revoke tokens there while the tracker
//! runs: it looks every second whether somebody did.

use std::path::Path;

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::token::Stored;
use super::{NewToken, Scope, Secret, Token, TokenError, TokenId};
use crate::catalogue::{CatalogueError, open_database};
use crate::limits::TOKENS_MAX;

/// The tokens of one tracker.
#[derive(Debug)]
pub struct TokenStore {
    connection: Mutex<Connection>,
}

/// A token could not be made, or the database fails.
#[derive(Debug, thiserror::Error)]
pub enum TokenStoreError {
    /// A rule is broken.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There are as many as there may be.
    #[error(
        "there are {TOKENS_MAX} tokens already; revoke some: revoked and expired ones make room"
    )]
    Full,
    /// The database.
    #[error(transparent)]
    Database(#[from] CatalogueError),
}

impl From<rusqlite::Error> for TokenStoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.into())
    }
}

/// What changes whenever a token does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    count: i64,
    last: i64,
    revoked: i64,
}

impl TokenStore {
    /// Opens or makes the tokens of the tracker whose data folder this is. Blocks, as all here.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub fn open(folder: &Path) -> Result<Self, CatalogueError> {
        Ok(Self { connection: Mutex::new(open_database(folder)?) })
    }

    /// Makes a token. Its secret is told once: here.
    ///
    /// # Errors
    /// When a rule is broken, there are too many, or the disk fails.
    pub fn create(&self, new: &NewToken, now: i64) -> Result<(Token, Secret), TokenStoreError> {
        new.check()?;
        let secret = Secret::new(rand::random());
        let passkey = secret.passkey();
        let expires = new.life_secs.map(|secs| now.saturating_add(secs));
        let connection = self.connection.lock();
        let transaction = connection.unchecked_transaction()?;
        let count = "SELECT count(*) FROM token";
        if transaction.query_row(count, [], |row| row.get::<_, i64>(0))? >= TOKENS_MAX {
            let spent = "DELETE FROM token WHERE revoked OR expires <= ?";
            if transaction.execute(spent, [now])? == 0 {
                return Err(TokenStoreError::Full);
            }
        }
        transaction.execute(
            "INSERT INTO token (name, note, scope, secret, passkey, created, expires)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
            params![
                new.name,
                new.note,
                new.scope.name(),
                secret.digest(),
                passkey.digest(),
                now,
                expires
            ],
        )?;
        let id = TokenId(transaction.last_insert_rowid());
        transaction.commit()?;
        let NewToken { name, note, scope, .. } = new.clone();
        Ok((Token { id, name, note, scope, created: now, expires, revoked: false }, secret))
    }

    /// Every token, in the order of their making.
    ///
    /// # Errors
    /// When the database fails.
    pub fn list(&self) -> Result<Vec<Token>, TokenStoreError> {
        Ok(self.load()?.into_iter().map(|stored| stored.token).collect())
    }

    /// Takes a token back; `None` if there is no such.
    ///
    /// # Errors
    /// When the database fails.
    pub fn revoke(&self, id: TokenId) -> Result<Option<Token>, TokenStoreError> {
        let connection = self.connection.lock();
        connection.execute("UPDATE token SET revoked = 1 WHERE id = ?", [id.0])?;
        let sql = format!("SELECT {COLUMNS} FROM token WHERE id = ?");
        let stored = connection.query_row(&sql, [id.0], stored_of).optional()?;
        Ok(stored.map(|stored| stored.token))
    }

    /// Makes an administrator's token if there never was one.
    pub(super) fn first_admin(&self, now: i64) -> Result<Option<Secret>, TokenStoreError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM token WHERE scope = 'admin')";
        let known: bool = self.connection.lock().query_row(sql, [], |row| row.get(0))?;
        if known {
            return Ok(None);
        }
        let (name, note) = ("admin".to_owned(), "made at the first start".to_owned());
        let new = NewToken { name, note, scope: Scope::Admin, life_secs: None };
        Ok(Some(self.create(&new, now)?.1))
    }

    pub(super) fn load(&self) -> Result<Vec<Stored>, TokenStoreError> {
        let connection = self.connection.lock();
        let sql = format!("SELECT {COLUMNS} FROM token ORDER BY id");
        let mut statement = connection.prepare_cached(&sql)?;
        Ok(statement.query_map([], stored_of)?.collect::<Result<_, _>>()?)
    }

    pub(super) fn version(&self) -> Result<Version, TokenStoreError> {
        let sql = "SELECT count(*), coalesce(max(id), 0), coalesce(sum(revoked), 0) FROM token";
        let connection = self.connection.lock();
        let version = connection.prepare_cached(sql)?.query_row([], |row| {
            Ok(Version { count: row.get(0)?, last: row.get(1)?, revoked: row.get(2)? })
        })?;
        Ok(version)
    }
}

const COLUMNS: &str = "id, name, note, scope, secret, passkey, created, expires, revoked";

fn stored_of(row: &Row<'_>) -> rusqlite::Result<Stored> {
    let scope: String = row.get("scope")?;
    let token = Token {
        id: TokenId(row.get("id")?),
        name: row.get("name")?,
        note: row.get("note")?,
        // The schema knows no fourth word; if it did, the least would be right.
        scope: Scope::from_name(&scope).unwrap_or(Scope::Read),
        created: row.get("created")?,
        expires: row.get("expires")?,
        revoked: row.get("revoked")?,
    };
    Ok(Stored { token, secret: row.get("secret")?, passkey: row.get("passkey")? })
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn new(name: &str, scope: Scope) -> NewToken {
        NewToken { name: name.to_owned(), note: "n".to_owned(), scope, life_secs: Some(60) }
    }

    #[test]
    fn only_digests_reach_the_disk() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::open(folder.path()).unwrap();
        let (token, secret) = store.create(&new("anna", Scope::Publish), 1_000).unwrap();
        assert_eq!((token.expires, token.revoked), (Some(1_060), false));
        let passkey = secret.passkey();
        drop(store);
        for file in std::fs::read_dir(folder.path()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            for text in [secret.reveal(), passkey.reveal()] {
                let found = bytes.windows(text.len()).any(|part| part == text.as_bytes());
                assert!(!found, "a secret is on the disk");
            }
        }
    }

    #[test]
    fn another_process_can_make_and_revoke_tokens() {
        let folder = TempDir::new().unwrap();
        let here = TokenStore::open(folder.path()).unwrap();
        let before = here.version().unwrap();
        let elsewhere = TokenStore::open(folder.path()).unwrap();
        let (token, _) = elsewhere.create(&new("anna", Scope::Read), 1).unwrap();
        let made = here.version().unwrap();
        assert_ne!(before, made);
        assert_eq!(here.list().unwrap(), std::slice::from_ref(&token));
        assert_eq!(elsewhere.revoke(token.id).unwrap(), Some(Token { revoked: true, ..token }));
        assert_ne!(here.version().unwrap(), made);
        assert_eq!(here.revoke(TokenId(99)).unwrap(), None);
    }

    #[test]
    fn first_admin_is_made_once() {
        let folder = TempDir::new().unwrap();
        let store = TokenStore::open(folder.path()).unwrap();
        assert!(store.first_admin(5).unwrap().is_some());
        assert!(store.first_admin(6).unwrap().is_none());
        assert_eq!(store.list().unwrap()[0].scope, Scope::Admin);
    }
}
