//! What changes the catalogue: one transaction each, on the disk when it returns.
//!
//! Whoever has to know of a change is told while nobody else can make another one, so that the swarms
//! hear of publications and of what is taken back in the order in which they happened.

use proto::metainfo::Metainfo;
use proto::{InfoHash, InfoHashes};
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::index::{self, Text};
use super::store::{Numbered, Store, find_in, first_with, metainfo_of, version_in};
use super::usage::{self, Accounts, Usage};
use super::{
    About, CatalogueError, Changes, Entry, NameTaken, Published, Publisher, Which, Withdrawn,
};
use crate::access::Owner;
use crate::limits::VERSIONS_PER_NAME_MAX;

/// A publication that fits the rules.
pub(super) struct Draft<'a> {
    /// Its number and those of the name are not known yet.
    pub(super) entry: Entry,
    pub(super) metainfo: &'a [u8],
    pub(super) paths: String,
    pub(super) about: &'a About,
    pub(super) publisher: &'a Publisher,
}

/// A row of the table `name`.
struct NameRow {
    id: i64,
    name: String,
    accounts: Accounts,
    owner: Option<Owner>,
    description: String,
    tags: String,
    versions: u32,
    last: u32,
}

impl Store {
    pub(super) fn publish(
        &self,
        draft: Draft<'_>,
        tell: impl FnOnce(&Changes),
    ) -> Result<Published, CatalogueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut changes = Changes::default();
        let row = name_row(&transaction, &draft.entry.name)?;
        let published = match row {
            None => {
                let accounts = self.create(&transaction, &draft)?;
                usage::check(&transaction, &accounts, &self.limits)?;
                Published::Created(entry_in(&transaction, &draft.entry)?)
            }
            Some(row) if has(&transaction, row.id, &draft.entry.hashes)?.is_some() => {
                describe(&transaction, &row, &draft)?;
                Published::Same(entry_in(&transaction, &draft.entry)?)
            }
            Some(row) if draft.publisher.owns(row.owner.as_ref()) => {
                changes.gone = add_version(&transaction, &row, &draft)?;
                usage::check(&transaction, &row.accounts, &self.limits)?;
                Published::Updated(entry_in(&transaction, &draft.entry)?)
            }
            Some(row) => return Err(taken(&transaction, row.name, draft.entry.hashes)?),
        };
        transaction.commit()?;
        changes.added = Some(published.entry().hashes);
        tell(&changes);
        Ok(published)
    }

    /// Takes a name back with all its versions, or one version, as `text` says.
    pub(super) fn withdraw(
        &self,
        text: &str,
        publisher: &Publisher,
        tell: impl FnOnce(&Changes),
    ) -> Result<Option<Withdrawn>, CatalogueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let which = Which::Name(text.to_owned());
        let Some(found) = find_in(&transaction, &which)? else { return Ok(None) };
        let Some(row) = name_row(&transaction, &found.entry.name)? else { return Ok(None) };
        if !publisher.owns(row.owner.as_ref()) {
            return Err(CatalogueError::NotOwner(row.name));
        }
        let is_whole = row.name == text;
        let entries = entries_of(&transaction, row.id)?;
        let (withdrawn, stay): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|one| is_whole || one.id == found.id);
        let mut gone = Vec::new();
        for one in &withdrawn {
            gone.extend(remove_version(&transaction, &row, one)?);
        }
        match stay.last() {
            None => remove_name(&transaction, &row)?,
            Some(latest) => {
                let versions = stay.len() as i64;
                let sql = "UPDATE name SET latest = ?, versions = ? WHERE id = ?";
                transaction.execute(sql, params![latest.id, versions, row.id])?;
                let metainfo = metainfo_of(&transaction, latest.id)?;
                let paths = Metainfo::decode(&metainfo).map(|decoded| index::paths(&decoded.info));
                row.index(&transaction, &paths.unwrap_or_default())?;
            }
        }
        transaction.commit()?;
        tell(&Changes { added: None, gone });
        let versions = withdrawn.iter().map(|one| one.version).collect();
        Ok(Some(Withdrawn { name: row.name, versions }))
    }

    /// Notes how many downloads have ended, by the first hash of each torrent.
    pub(super) fn note_completed(&self, counts: &[(InfoHash, u32)]) -> Result<(), CatalogueError> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (hash, completed) in counts {
            transaction
                .prepare_cached("UPDATE entry SET completed = ?2 WHERE v1 = ?1")?
                .execute(params![hash.0, completed])?;
            transaction
                .prepare_cached(
                    "UPDATE entry SET completed = ?2
                     WHERE v1 IS NULL AND v2 IS NOT NULL AND substr(v2, 1, 20) = ?1",
                )?
                .execute(params![hash.0, completed])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// A new name with its first version.
    fn create(&self, connection: &Connection, draft: &Draft<'_>) -> rusqlite::Result<Accounts> {
        let Publisher { owner, source, .. } = draft.publisher;
        let tags = draft.about.tags().unwrap_or_default().join(" ");
        let description = draft.about.description().unwrap_or_default();
        let text = Text { name: &draft.entry.name, tags: &tags, description, paths: &draft.paths };
        connection
            .prepare_cached(
                "INSERT INTO name
                 (name, folded, owner, source, description, tags, latest, versions, last)
                 VALUES (?, ?, ?, ?, ?, ?, 0, 1, 1)",
            )?
            .execute(params![
                text.name,
                text.folded(),
                owner.as_ref().map(Owner::as_str),
                source,
                description,
                tags
            ])?;
        let id = connection.last_insert_rowid();
        let accounts = Accounts::new(owner.as_ref(), source.clone());
        insert_version(connection, (id, 1), draft, &accounts)?;
        usage::charge(connection, &accounts, Usage { names: 1, ..Usage::default() })?;
        index::put(connection, id, &text)?;
        Ok(accounts)
    }
}

/// The next version of a name. The oldest one makes room when there are as many as may be: its hashes
/// come back.
fn add_version(
    connection: &Connection,
    row: &NameRow,
    draft: &Draft<'_>,
) -> Result<Vec<InfoHashes>, CatalogueError> {
    let mut gone = Vec::new();
    let mut versions = row.versions;
    if versions >= VERSIONS_PER_NAME_MAX
        && let Some(oldest) = entries_of(connection, row.id)?.first()
    {
        gone.extend(remove_version(connection, row, oldest)?);
        versions -= 1;
    }
    let number = row.last + 1;
    insert_version(connection, (row.id, number), draft, &row.accounts)?;
    let sql = "UPDATE name SET versions = ?, last = ? WHERE id = ?";
    connection.prepare_cached(sql)?.execute(params![versions + 1, number, row.id])?;
    row.describe(connection, draft.about)?.index(connection, &draft.paths)?;
    Ok(gone)
}

fn insert_version(
    connection: &Connection,
    (name_id, number): (i64, u32),
    draft: &Draft<'_>,
    accounts: &Accounts,
) -> rusqlite::Result<()> {
    let Draft { entry, metainfo, paths, publisher, .. } = draft;
    let bytes = index::bytes(metainfo.len(), paths.len());
    connection
        .prepare_cached(
            "INSERT INTO entry (name_id, version, v1, v2, size, files, piece_len, published,
             published_by, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            name_id,
            number,
            entry.hashes.v1().map(|hash| hash.0),
            entry.hashes.v2().map(|hash| hash.0),
            i64::try_from(entry.size).unwrap_or(i64::MAX),
            i64::try_from(entry.files).unwrap_or(i64::MAX),
            entry.piece_len,
            entry.published,
            publisher.by,
            bytes,
        ])?;
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO metainfo (entry_id, bytes) VALUES (?, ?)")?
        .execute(params![id, metainfo])?;
    connection.prepare_cached("UPDATE name SET latest = ? WHERE id = ?")?.execute([id, name_id])?;
    usage::charge(connection, accounts, Usage { names: 0, versions: 1, bytes })
}

/// The same content again may change what is said about the name, if it is the owner who says it.
fn describe(
    connection: &Connection,
    row: &NameRow,
    draft: &Draft<'_>,
) -> Result<(), CatalogueError> {
    let about = draft.about;
    let same_text = about.description().is_none_or(|text| text == row.description);
    let same_tags = about.tags().is_none_or(|tags| tags.join(" ") == row.tags);
    if same_text && same_tags {
        return Ok(());
    }
    if !draft.publisher.owns(row.owner.as_ref()) {
        return Err(CatalogueError::NotOwner(row.name.clone()));
    }
    let paths = index::paths_of(connection, row.id)?;
    row.describe(connection, about)?.index(connection, &paths)?;
    Ok(())
}

impl NameRow {
    /// Stores what is new about it.
    fn describe(&self, connection: &Connection, about: &About) -> rusqlite::Result<Self> {
        let description = about.description().unwrap_or(&self.description).to_owned();
        let tags = about.tags().map_or_else(|| self.tags.clone(), |tags| tags.join(" "));
        let row = Self {
            name: self.name.clone(),
            accounts: self.accounts.clone(),
            owner: self.owner.clone(),
            description,
            tags,
            ..*self
        };
        let folded = row.text("").folded();
        let sql = "UPDATE name SET description = ?, tags = ?, folded = ? WHERE id = ?";
        let mut update = connection.prepare_cached(sql)?;
        update.execute(params![row.description, row.tags, folded, row.id])?;
        Ok(row)
    }

    fn index(&self, connection: &Connection, paths: &str) -> rusqlite::Result<()> {
        index::put(connection, self.id, &self.text(paths))
    }

    fn text<'a>(&'a self, paths: &'a str) -> Text<'a> {
        Text { name: &self.name, tags: &self.tags, description: &self.description, paths }
    }
}

fn name_row(connection: &Connection, name: &str) -> rusqlite::Result<Option<NameRow>> {
    let sql = "SELECT id, name, owner, source, description, tags, versions, last
               FROM name WHERE name = ?";
    let row = connection.prepare_cached(sql)?.query_row([name], |row| {
        let owner = row.get::<_, Option<String>>("owner")?.map(Owner::stored);
        Ok(NameRow {
            id: row.get("id")?,
            name: row.get("name")?,
            accounts: Accounts::new(owner.as_ref(), row.get("source")?),
            owner,
            description: row.get("description")?,
            tags: row.get("tags")?,
            versions: row.get("versions")?,
            last: row.get("last")?,
        })
    });
    row.optional()
}

/// The version of a name that has this very content.
fn has(
    connection: &Connection,
    name_id: i64,
    hashes: &InfoHashes,
) -> rusqlite::Result<Option<u32>> {
    let sql = "SELECT version FROM entry WHERE name_id = ? AND v1 IS ? AND v2 IS ?";
    let (v1, v2) = (hashes.v1().map(|hash| hash.0), hashes.v2().map(|hash| hash.0));
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![name_id, v1, v2], |row| row.get(0)).optional()
}

/// The entry of a draft, as it is stored now.
fn entry_in(connection: &Connection, draft: &Entry) -> Result<Entry, CatalogueError> {
    let missing = || CatalogueError::Database(rusqlite::Error::QueryReturnedNoRows);
    let row = name_row(connection, &draft.name)?.ok_or_else(missing)?;
    let version = has(connection, row.id, &draft.hashes)?.ok_or_else(missing)?;
    let found = version_in(connection, &row.name, version)?.ok_or_else(missing)?;
    Ok(found.entry)
}

fn taken(
    connection: &Connection,
    name: String,
    offered: InfoHashes,
) -> Result<CatalogueError, CatalogueError> {
    let found = find_in(connection, &Which::Name(name.clone()))?;
    let existing = found.map_or(offered, |Numbered { entry, .. }| entry.hashes);
    Ok(CatalogueError::NameTaken(Box::new(NameTaken { name, existing, offered })))
}

/// A version of a name, for taking it back.
struct VersionRow {
    id: i64,
    version: u32,
    v1: Option<[u8; 20]>,
    v2: Option<[u8; 32]>,
    bytes: i64,
}

/// All versions of a name, the oldest first.
fn entries_of(connection: &Connection, name_id: i64) -> rusqlite::Result<Vec<VersionRow>> {
    let sql = "SELECT id, version, v1, v2, bytes FROM entry WHERE name_id = ? ORDER BY version";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([name_id], |row| {
        Ok(VersionRow {
            id: row.get("id")?,
            version: row.get("version")?,
            v1: row.get("v1")?,
            v2: row.get("v2")?,
            bytes: row.get("bytes")?,
        })
    })?;
    rows.collect()
}

/// Takes one version out. Its hashes come back if no other entry has them.
fn remove_version(
    connection: &Connection,
    row: &NameRow,
    version: &VersionRow,
) -> rusqlite::Result<Option<InfoHashes>> {
    // The torrent file goes with it.
    connection.prepare_cached("DELETE FROM entry WHERE id = ?")?.execute([version.id])?;
    let less = Usage { names: 0, versions: -1, bytes: -version.bytes };
    usage::charge(connection, &row.accounts, less)?;
    let hashes =
        InfoHashes::new(version.v1.map(proto::InfoHashV1), version.v2.map(proto::InfoHashV2));
    let Some(hashes) = hashes else { return Ok(None) };
    let other = first_with(connection, &hashes.primary())?;
    Ok(other.is_none().then_some(hashes))
}

fn remove_name(connection: &Connection, row: &NameRow) -> rusqlite::Result<()> {
    index::remove(connection, row.id)?;
    connection.prepare_cached("DELETE FROM name WHERE id = ?")?.execute([row.id])?;
    usage::charge(connection, &row.accounts, Usage { names: -1, ..Usage::default() })
}
