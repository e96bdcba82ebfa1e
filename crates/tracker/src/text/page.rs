//! A page of the catalogue: its names that somebody seeds by BitTorrent, as the text protocol lists
//! seeders.
//!
//! The catalogue may be long and an answer holds some thirty seeders: a bounded page is kept, at most
//! a second old. A catalogue that is longer has its pages looked at in turn.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proto::InfoHash;
use proto::tracker::text::{hex_list_len, is_name};
use registry::{Names, Role, Secs, limits::NUMWANT_MAX};

use crate::catalogue::{CatalogueError, Entry, V2_HEX_LEN};
use crate::limits::{TEXT_LENS_A_ROUND, TEXT_PAGE_LEN, TEXT_PAGE_SECS, TEXT_SEEDERS_A_NAME_MAX};
use crate::server::Shared;

/// Some of the catalogue's seeders.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// In the order of their names.
    pub(super) rows: Vec<PageRow>,
    /// Names that are seeded, in order.
    pub(super) names: Vec<String>,
    /// There is nothing in the catalogue beside it.
    pub(super) is_whole: bool,
}

/// A seeder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageRow {
    /// `NAME`, `NAME#2`, and so on.
    pub(super) name: String,
    /// Where it speaks BitTorrent.
    pub(super) addr: SocketAddr,
    /// Bytes in the list of its piece hashes.
    pub(super) size: u64,
}

impl Page {
    /// A seeder of that name is here.
    pub(super) fn has(&self, name: &str) -> bool {
        self.rows.binary_search_by(|row| row.name.as_str().cmp(name)).is_ok()
    }
}

/// Reads page after page.
#[derive(Debug, Default)]
pub(super) struct PageReader {
    /// The page is behind this name.
    after: String,
    /// Where the next one begins, and when it is its turn.
    next: Option<(String, Secs)>,
    /// Lengths of lists, by name: some of them take the reading of a whole torrent file.
    lens: BTreeMap<String, (InfoHash, u64)>,
    failed: bool,
}

impl PageReader {
    /// The page as it is now; `None` when the catalogue cannot be read.
    pub(super) async fn read(&mut self, now: Secs, shared: &Shared) -> Option<Page> {
        match self.try_read(now, shared).await {
            Ok(page) => {
                self.failed = false;
                Some(page)
            }
            Err(error) => {
                // Once, not every second.
                if !std::mem::replace(&mut self.failed, true) {
                    tracing::error!(%error, "reading the catalogue for the text protocol");
                }
                None
            }
        }
    }

    async fn try_read(&mut self, now: Secs, shared: &Shared) -> Result<Page, CatalogueError> {
        if let Some((after, _)) = self.next.take_if(|(_, when)| now >= *when) {
            self.after = after;
            self.lens.clear();
        }
        let after = Some(self.after.clone());
        let (entries, more) = shared.catalogue.list("", after, TEXT_PAGE_LEN).await?;
        let last = entries.last().filter(|_| more).map(|last| last.name.clone());
        let is_whole = !more && self.after.is_empty();
        if self.next.is_none() && !is_whole {
            self.next = Some((last.unwrap_or_default(), now.plus(TEXT_PAGE_SECS)));
        }
        let mut page = Page { is_whole, ..Page::default() };
        let mut budget = TEXT_LENS_A_ROUND;
        for entry in entries {
            let seeders = seeders_of(shared, &entry);
            if seeders.is_empty() || !is_name(&entry.name) {
                continue;
            }
            let Some(size) = self.list_len(shared, &entry, &mut budget).await? else { continue };
            let rows = seeders.into_iter().enumerate();
            page.rows.extend(rows.map(|(number, addr)| PageRow {
                name: numbered(&entry.name, number + 1),
                addr,
                size,
            }));
            page.names.push(entry.name);
        }
        page.rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(page)
    }

    /// Bytes in the list of a torrent's hashes; `None` when others had to be looked at first.
    async fn list_len(
        &mut self,
        shared: &Shared,
        entry: &Entry,
        budget: &mut usize,
    ) -> Result<Option<u64>, CatalogueError> {
        if entry.files == 1 && entry.hashes.v2().is_some() {
            let count = entry.size.div_ceil(u64::from(entry.piece_len.max(1)));
            return Ok(Some(hex_list_len(count, V2_HEX_LEN)));
        }
        let hash = entry.hashes.primary();
        if let Some((_, len)) = self.lens.get(&entry.name).filter(|(known, _)| *known == hash) {
            return Ok(Some(*len));
        }
        let Some(left) = budget.checked_sub(1) else { return Ok(None) };
        *budget = left;
        let hashes = shared.catalogue.chunk_hashes(entry.name.clone()).await?;
        let Some(len) = hashes.map(|hashes| hashes.list_len()) else { return Ok(None) };
        self.lens.insert(entry.name.clone(), (hash, len));
        Ok(Some(len))
    }
}

/// Where a torrent is seeded, in order.
fn seeders_of(shared: &Shared, entry: &Entry) -> Vec<SocketAddr> {
    let hash = entry.hashes.primary();
    if shared.swarms.scrape(&hash).is_none_or(|counts| counts.seeders == 0) {
        return Vec::new();
    }
    let peers = shared.swarms.peers(&hash, Some(Names::BOTH), NUMWANT_MAX);
    let seeders = peers.into_iter().filter(|peer| peer.role == Role::Seeder);
    let mut addrs: Vec<_> = seeders.map(|peer| peer.addr).take(TEXT_SEEDERS_A_NAME_MAX).collect();
    addrs.sort_unstable();
    addrs.dedup();
    addrs
}

/// What the seeder of that number is called, from 1.
fn numbered(name: &str, number: usize) -> String {
    if number == 1 { name.to_owned() } else { format!("{name}#{number}") }
}

/// The name without its number, if it has one.
pub(super) fn unnumbered(name: &str) -> Option<&str> {
    let (name, number) = name.rsplit_once('#')?;
    let number: usize = number.parse().ok()?;
    (2..=TEXT_SEEDERS_A_NAME_MAX).contains(&number).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_off_as_they_were_put_on() {
        assert_eq!(numbered("a#b", 1), "a#b");
        assert_eq!(numbered("a", 2), "a#2");
        assert_eq!(unnumbered("a#2"), Some("a"));
        assert_eq!(unnumbered("a#2#3"), Some("a#2"));
        for plain in ["a", "a#", "a#1", "a#0", "a#x", "a#999"] {
            assert_eq!(unnumbered(plain), None, "{plain}");
        }
    }
}
