//! The shape of `tracker.db`, and how it came to be.

use proto::metainfo::Metainfo;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::CatalogueError;
use super::index::{self, Text};
use super::usage::{self, Accounts, Usage};
use crate::access::Owner;

/// Marks the file as ours ("Teem").
const APPLICATION_ID: i32 = 0x5465_656d;

/// Each step brings the schema from its index to the next version (`user_version`). Steps are never
/// changed, only added.
const STEPS: [Step; 3] = [
    Step::Sql(FIRST),
    Step::Sql(
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
    ),
    Step::Program(names_with_versions),
];

/// The first one.
pub(super) const FIRST: &str = "
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
";

/// One step.
#[derive(Clone, Copy)]
enum Step {
    Sql(&'static str),
    Program(fn(&Transaction<'_>) -> Result<(), CatalogueError>),
}

/// A name has an owner, a description, tags and versions; an entry is one version.
const NAMES: &str = "
    CREATE TABLE name (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        -- The name and, behind a line feed, the tags, in lower case.
        folded TEXT NOT NULL,
        -- Who may change it; nobody but an administrator if NULL.
        owner TEXT,
        -- The network that it counts for; empty if for none.
        source TEXT NOT NULL,
        description TEXT NOT NULL DEFAULT '',
        -- Separated by spaces.
        tags TEXT NOT NULL DEFAULT '',
        -- The entry of the latest version, how many there are, and the last number given.
        latest INTEGER NOT NULL,
        versions INTEGER NOT NULL CHECK (versions > 0),
        last INTEGER NOT NULL CHECK (last > 0)
    ) STRICT;
    -- What short searches read from beginning to end.
    CREATE INDEX name_folded ON name (name, folded);

    CREATE TABLE entry_3 (
        id INTEGER PRIMARY KEY,
        name_id INTEGER NOT NULL REFERENCES name (id) ON DELETE CASCADE,
        version INTEGER NOT NULL CHECK (version > 0),
        v1 BLOB CHECK (length(v1) = 20),
        v2 BLOB CHECK (length(v2) = 32),
        size INTEGER NOT NULL,
        files INTEGER NOT NULL,
        piece_len INTEGER NOT NULL,
        published INTEGER NOT NULL,
        published_by TEXT NOT NULL,
        -- Downloads that ended, under the torrent's hashes.
        completed INTEGER NOT NULL DEFAULT 0,
        -- Bytes that it is counted with.
        bytes INTEGER NOT NULL,
        UNIQUE (name_id, version),
        CHECK (v1 IS NOT NULL OR v2 IS NOT NULL)
    ) STRICT;
    INSERT INTO name (id, name, folded, source, latest, versions, last)
        SELECT id, name, name, '', id, 1, 1 FROM entry;
    INSERT INTO entry_3
        (id, name_id, version, v1, v2, size, files, piece_len, published, published_by, bytes)
        SELECT id, id, 1, v1, v2, size, files, piece_len, published, published_by, 0 FROM entry;
    -- References are not followed while a database is brought up to date: the torrent files stay.
    DROP TABLE entry;
    ALTER TABLE entry_3 RENAME TO entry;
    CREATE INDEX entry_v1 ON entry (v1) WHERE v1 IS NOT NULL;
    CREATE INDEX entry_v2 ON entry (substr(v2, 1, 20)) WHERE v2 IS NOT NULL;

    -- Room that is taken.
    CREATE TABLE usage (
        who TEXT PRIMARY KEY,
        names INTEGER NOT NULL,
        versions INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- Paths inside the latest version, a line each: which one fits a search.
    CREATE TABLE paths (
        name_id INTEGER PRIMARY KEY REFERENCES name (id) ON DELETE CASCADE,
        lines TEXT NOT NULL
    ) STRICT;
    CREATE VIRTUAL TABLE search USING fts5 (
        name, tags, description, paths,
        content = '', contentless_delete = 1, tokenize = 'trigram case_sensitive 1'
    );
";

fn names_with_versions(transaction: &Transaction<'_>) -> Result<(), CatalogueError> {
    transaction.execute_batch(NAMES)?;
    let sql = "SELECT e.id, n.name, e.published_by, m.bytes
               FROM entry e JOIN name n ON n.id = e.name_id JOIN metainfo m ON m.entry_id = e.id";
    let mut statement = transaction.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
        let (by, metainfo): (String, Vec<u8>) = (row.get(2)?, row.get(3)?);
        // What was published without a secret is nobody's, and counts for the network it came from.
        let (owner, source) = match by.parse() {
            Ok(ip) => (None, usage::source(None, ip)),
            Err(_) => (Some(Owner::stored(by)).filter(Owner::is_known), String::new()),
        };
        let paths = Metainfo::decode(&metainfo).map(|decoded| index::paths(&decoded.info));
        let text =
            Text { name: &name, tags: "", description: "", paths: &paths.unwrap_or_default() };
        index::put(transaction, id, &text)?;
        let bytes = index::bytes(metainfo.len(), text.paths.len());
        let sql = "UPDATE name SET owner = ?, source = ?, folded = ? WHERE id = ?";
        let owner_text = owner.as_ref().map(Owner::as_str);
        transaction.execute(sql, params![owner_text, source, text.folded(), id])?;
        transaction.execute("UPDATE entry SET bytes = ? WHERE id = ?", params![bytes, id])?;
        let one = Usage { names: 1, versions: 1, bytes };
        usage::charge(transaction, &Accounts::new(owner.as_ref(), source), one)?;
    }
    Ok(())
}

/// Brings the database up to date.
pub(super) fn migrate(connection: &mut Connection, path: &str) -> Result<(), CatalogueError> {
    let unusable = |reason: &str| CatalogueError::Unusable {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    // A table that others refer to cannot be made anew otherwise; inside a transaction this is too late.
    connection.pragma_update(None, "foreign_keys", false)?;
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
        match step {
            Step::Sql(sql) => transaction.execute_batch(sql)?,
            Step::Program(program) => program(&transaction)?,
        }
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", STEPS.len() as i32)?;
    transaction.commit()?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(())
}
