//! The tables of `node.db`, their versions, and what happens to a damaged database.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::RecordError;

pub(super) const METAINFO: i64 = 1;
pub(super) const MAGNET: i64 = 2;
pub(super) const FETCH: i64 = 1;
pub(super) const SHARE: i64 = 2;

/// Each entry leads from the version of its index to the next one.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE torrents (
        key BLOB NOT NULL UNIQUE,
        source_kind INTEGER NOT NULL,
        source BLOB NOT NULL,
        content_kind INTEGER NOT NULL,
        path BLOB NOT NULL,
        trackers TEXT NOT NULL
    );
    CREATE TABLE progress (
        key BLOB PRIMARY KEY NOT NULL,
        have BLOB NOT NULL,
        clean INTEGER NOT NULL,
        finished INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE files (
        key BLOB NOT NULL,
        file INTEGER NOT NULL,
        dev INTEGER NOT NULL,
        ino INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        whole INTEGER NOT NULL,
        PRIMARY KEY (key, file)
    ) WITHOUT ROWID;
",
    "
    CREATE TABLE copies (
        root BLOB NOT NULL,
        path BLOB NOT NULL,
        key BLOB NOT NULL,
        PRIMARY KEY (root, path)
    ) WITHOUT ROWID;
    CREATE INDEX copies_by_key ON copies (key);
",
    "
    ALTER TABLE files ADD COLUMN made INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE wishes (
        key BLOB PRIMARY KEY NOT NULL,
        rest INTEGER NOT NULL DEFAULT 0,
        forced INTEGER NOT NULL DEFAULT 0,
        place INTEGER,
        folder BLOB
    ) WITHOUT ROWID;
    CREATE TABLE renames (
        key BLOB NOT NULL,
        pending INTEGER NOT NULL,
        file INTEGER NOT NULL,
        path TEXT NOT NULL,
        PRIMARY KEY (key, pending, file)
    ) WITHOUT ROWID;
    CREATE TABLE moves (
        key BLOB PRIMARY KEY NOT NULL,
        origin BLOB NOT NULL,
        folder BLOB NOT NULL,
        stage INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE moved (
        key BLOB NOT NULL,
        file INTEGER NOT NULL,
        dev INTEGER NOT NULL,
        ino INTEGER NOT NULL,
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        path BLOB NOT NULL,
        PRIMARY KEY (key, file)
    ) WITHOUT ROWID;
    CREATE TABLE removals (
        key BLOB PRIMARY KEY NOT NULL,
        content INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE totals (
        key BLOB PRIMARY KEY NOT NULL,
        downloaded INTEGER NOT NULL,
        uploaded INTEGER NOT NULL,
        seeded_ms INTEGER NOT NULL,
        seeding_since_ms INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE alive (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        ms INTEGER NOT NULL
    );
",
    "
    CREATE TABLE aliases (
        alias BLOB PRIMARY KEY NOT NULL,
        key BLOB NOT NULL
    ) WITHOUT ROWID;
",
];

/// Opens the database and brings its tables up to date.
pub(super) fn open(path: &Path) -> Result<Connection, RecordError> {
    match prepare(path) {
        Err(RecordError::Database(error)) if is_damage(&error) => {
            Err(quarantine(path, &error.to_string()))
        }
        other => other,
    }
}

fn prepare(path: &Path) -> Result<Connection, RecordError> {
    let mut db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let verdict: String = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        drop(db);
        return Err(quarantine(path, &verdict));
    }
    let known = MIGRATIONS.len() as i64;
    let found: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if !(0..=known).contains(&found) {
        return Err(RecordError::Newer { path: path.to_owned(), found, known });
    }
    let transaction = db.transaction()?;
    for migration in &MIGRATIONS[found as usize..] {
        transaction.execute_batch(migration)?;
    }
    transaction.pragma_update(None, "user_version", known)?;
    transaction.commit()?;
    Ok(db)
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Moves a damaged database, with its log, to a name that is free.
fn quarantine(path: &Path, reason: &str) -> RecordError {
    let with = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let kept = (1..)
        .map(|number| with(&format!(".damaged-{number}")))
        .find(|name| !name.exists())
        .expect("there are more numbers than files in a folder");
    if let Err(source) = std::fs::rename(path, &kept) {
        let what = format!("put the damaged {} aside", path.display());
        return RecordError::Io { what, source };
    }
    for suffix in ["-wal", "-shm"] {
        // Often absent. If one cannot be moved, the next start refuses it by its salt.
        let mut name = kept.as_os_str().to_owned();
        name.push(suffix);
        let _ = std::fs::rename(with(suffix), name);
    }
    RecordError::Damaged { path: path.to_owned(), reason: reason.to_owned(), kept }
}

/// Layout of a sealed blob: version, CRC-32 of the rest (big-endian), the rest.
const SEAL_VERSION: u8 = 1;

/// Guards a blob against bit rot, which SQLite itself does not see.
pub(super) fn seal(bytes: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(bytes.len() + 5);
    sealed.push(SEAL_VERSION);
    sealed.extend(crc32(bytes).to_be_bytes());
    sealed.extend(bytes);
    sealed
}

/// The blob, if it is as it was sealed.
pub(super) fn unseal(sealed: &[u8]) -> Option<&[u8]> {
    let (&version, rest) = sealed.split_first()?;
    let (crc, bytes) = rest.split_first_chunk::<4>()?;
    (version == SEAL_VERSION && u32::from_be_bytes(*crc) == crc32(bytes)).then_some(bytes)
}

/// CRC-32 as in IEEE 802.3, bit by bit from a table made at compile time.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { 0xedb8_8320 ^ (value >> 1) } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes
        .iter()
        .fold(!0, |crc: u32, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_is_the_well_known_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_flipped_bit_breaks_the_seal() {
        let sealed = seal(&[1, 2, 3]);
        assert_eq!(unseal(&sealed), Some([1, 2, 3].as_slice()));
        for byte in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[byte] ^= 4;
            assert_eq!(unseal(&flipped), None);
        }
        assert_eq!(unseal(&sealed[..3]), None);
    }
}
