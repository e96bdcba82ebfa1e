//! The search index: one row of text for each name, under the name's id.
//!
//! It knows where each three characters stand together (FTS5, `trigram`) in the folded name, tags,
//! description, and paths inside the latest version, and keeps no text itself. Paths are kept apart, to
//! show which one fits.

use proto::metainfo::Info;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::query::fold;
use crate::limits::{INDEX_FACTOR, PATHS_LEN_MAX};

/// What is known of a name in words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) name: &'a str,
    /// Separated by spaces.
    pub(super) tags: &'a str,
    pub(super) description: &'a str,
    /// A line each.
    pub(super) paths: &'a str,
}

impl Text<'_> {
    /// What short searches read.
    pub(super) fn folded(&self) -> String {
        format!("{}\n{}", fold(self.name), fold(self.tags))
    }
}

/// Paths of the files, a line each, as many as the index takes.
pub(super) fn paths(info: &Info) -> String {
    let mut lines = String::new();
    for file in info.files() {
        let path = file.path.join("/");
        if lines.len() + path.len() + 1 > PATHS_LEN_MAX {
            break;
        }
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(&path);
    }
    lines
}

/// What a version is counted with: its torrent file, and its paths in the index.
pub(super) fn bytes(metainfo_len: usize, paths_len: usize) -> i64 {
    i64::try_from(metainfo_len.saturating_add(paths_len * INDEX_FACTOR)).unwrap_or(i64::MAX)
}

/// Puts the text of a name in place of what was there.
pub(super) fn put(connection: &Connection, id: i64, text: &Text<'_>) -> rusqlite::Result<()> {
    remove(connection, id)?;
    connection
        .prepare_cached(
            "INSERT INTO search (rowid, name, tags, description, paths) VALUES (?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            fold(text.name),
            fold(text.tags),
            fold(text.description),
            fold(text.paths)
        ])?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO paths (name_id, lines) VALUES (?, ?)")?
        .execute(params![id, text.paths])?;
    Ok(())
}

/// Takes the text of a name out.
pub(super) fn remove(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM search WHERE rowid = ?")?.execute([id])?;
    connection.prepare_cached("DELETE FROM paths WHERE name_id = ?")?.execute([id])?;
    Ok(())
}

/// The names whose text fits a query of the index, in ascending order of their ids.
pub(super) fn find(connection: &Connection, query: &str) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid";
    connection.prepare_cached(sql)?.query_map([query], |row| row.get(0))?.collect()
}

/// The paths of a name, a line each.
pub(super) fn paths_of(connection: &Connection, id: i64) -> rusqlite::Result<String> {
    let sql = "SELECT lines FROM paths WHERE name_id = ?";
    let lines = connection.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
    Ok(lines.unwrap_or_default())
}
