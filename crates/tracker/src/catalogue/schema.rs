//! The shape of `tracker.db`, and how it came to be.

use rusqlite::{Connection, TransactionBehavior};

use super::CatalogueError;

/// Marks the file as ours ("Teem").
const APPLICATION_ID: i32 = 0x5465_656d;

/// Each step brings the schema from its index to the next version (`user_version`). Steps are never
/// changed, only added.
const STEPS: [&str; 2] = [
    "
    CREATE TABLE entry (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        -- Info hashes; v2 in full.
        v1 BLOB CHECK (length(v1) = 20),
        v2 BLOB CHECK (length(v2) = 32),
        size INTEGER NOT NULL,
        files INTEGER NOT NULL,
        piece_len INTEGER NOT NULL,
        published INTEGER NOT NULL,
        published_by TEXT NOT NULL,
        CHECK (v1 IS NOT NULL OR v2 IS NOT NULL)
    ) STRICT;
    CREATE INDEX entry_v1 ON entry (v1) WHERE v1 IS NOT NULL;
    CREATE INDEX entry_v2 ON entry (substr(v2, 1, 20)) WHERE v2 IS NOT NULL;
    -- Apart, so that lists do not read around the torrent files.
    CREATE TABLE metainfo (
        entry_id INTEGER PRIMARY KEY REFERENCES entry (id) ON DELETE CASCADE,
        bytes BLOB NOT NULL
    ) STRICT;
",
    "
    CREATE TABLE token (
        -- AUTOINCREMENT: the number of a token that is gone means no other one later.
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        note TEXT NOT NULL,
        scope TEXT NOT NULL CHECK (scope IN ('read', 'publish', 'admin')),
        -- SHA-256 of what its holder sends, and of what their announces carry.
        secret BLOB NOT NULL UNIQUE CHECK (length(secret) = 32),
        passkey BLOB NOT NULL UNIQUE CHECK (length(passkey) = 32),
        created INTEGER NOT NULL,
        expires INTEGER,
        revoked INTEGER NOT NULL DEFAULT 0 CHECK (revoked IN (0, 1))
    ) STRICT;
",
];

/// Brings the database up to date.
pub(super) fn migrate(connection: &mut Connection, path: &str) -> Result<(), CatalogueError> {
    let unusable = |reason: &str| CatalogueError::Unusable {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number =
        |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let tables = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = transaction.query_row(tables, [], |row| row.get(0))?;
    if tables > 0 && number("application_id")? != APPLICATION_ID {
        return Err(unusable("is a database of another program; choose another --data folder"));
    }
    let version = usize::try_from(number("user_version")?).unwrap_or(usize::MAX);
    let Some(steps) = STEPS.get(version..) else {
        return Err(unusable("was made by a newer version of teem; use that one"));
    };
    for step in steps {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", STEPS.len() as i32)?;
    transaction.commit()?;
    Ok(())
}
