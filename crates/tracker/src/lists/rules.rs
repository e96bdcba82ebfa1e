//! What lists say, and how they are read: sorted, so that a look-up is a search by halves and an entry
//! takes no more memory than its bytes.

use std::io::{self, BufRead, Read as _};

use proto::{InfoHash, InfoHashV2, PeerId};

use super::ListSizes;
use crate::limits::{LIST_CLIENTS_MAX, LIST_HASHES_MAX, LIST_LINE_LEN_MAX};

/// All lists. A missing one says nothing.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) allow: Option<Hashes>,
    pub(super) deny: Option<Hashes>,
    pub(super) allow_clients: Option<Clients>,
    pub(super) deny_clients: Option<Clients>,
}

/// Info hashes as they are announced, in order.
#[derive(Debug)]
pub(super) struct Hashes(Vec<InfoHash>);

/// Beginnings of peer ids, in order, none the beginning of another.
#[derive(Debug)]
pub(super) struct Clients(Vec<Box<[u8]>>);

/// Why a list cannot be read.
#[derive(Debug)]
pub(super) enum Line {
    /// The file.
    Unread(io::Error),
    /// Which line of it, and why.
    Bad(usize, String),
}

/// A kind of list.
pub(super) trait List: Sized {
    /// What a line says.
    type Entry;

    /// More than that many lines are not taken.
    const MAX: usize;

    /// Reads a line without its comment.
    fn entry(text: &str) -> Result<Self::Entry, &'static str>;

    /// The list of all lines.
    fn of(entries: Vec<Self::Entry>) -> Self;
}

impl Rules {
    /// Whether a torrent is let in that has one hash, or a second one that `other` finds.
    pub(super) fn admits(
        &self,
        hash: &InfoHash,
        mut other: impl FnMut() -> Option<InfoHash>,
    ) -> bool {
        if self.allow.is_none() && self.deny.is_none() {
            return true;
        }
        let denied = |hash: &InfoHash| self.deny.as_ref().is_some_and(|list| list.has(hash));
        let allowed = |hash: &InfoHash| self.allow.as_ref().is_none_or(|list| list.has(hash));
        if denied(hash) {
            return false;
        }
        if self.deny.is_none() && allowed(hash) {
            return true;
        }
        // Finding it takes a look at the swarms, so it comes last.
        let other = other();
        let other = other.as_ref();
        !other.is_some_and(denied) && (allowed(hash) || other.is_some_and(allowed))
    }

    /// Whether a client is let in.
    pub(super) fn admits_client(&self, client: &PeerId) -> bool {
        self.allow_clients.as_ref().is_none_or(|list| list.has(client))
            && self.deny_clients.as_ref().is_none_or(|list| !list.has(client))
    }

    pub(super) fn sizes(&self) -> ListSizes {
        let hashes = [&self.allow, &self.deny].into_iter().flatten().map(|list| list.0.len());
        let clients = [&self.allow_clients, &self.deny_clients].into_iter().flatten();
        ListSizes {
            hashes: hashes.sum::<usize>() as u64,
            clients: clients.map(|list| list.0.len()).sum::<usize>() as u64,
        }
    }
}

impl List for Hashes {
    type Entry = InfoHash;
    const MAX: usize = LIST_HASHES_MAX;

    fn entry(text: &str) -> Result<InfoHash, &'static str> {
        let v2 = || text.parse::<InfoHashV2>().map(InfoHashV2::truncated);
        text.parse().or_else(|_| v2()).map_err(|_| "an info hash has 40 or 64 hex digits")
    }

    fn of(mut entries: Vec<InfoHash>) -> Self {
        entries.sort_unstable();
        entries.dedup();
        entries.shrink_to_fit();
        Self(entries)
    }
}

impl List for Clients {
    type Entry = Box<[u8]>;
    const MAX: usize = LIST_CLIENTS_MAX;

    fn entry(text: &str) -> Result<Box<[u8]>, &'static str> {
        let fits = text.len() <= size_of::<PeerId>();
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(text.as_bytes().into());
        }
        Err("the beginning of a peer id, as in -TR40, has 1 to 20 printable ASCII characters")
    }

    fn of(mut entries: Vec<Box<[u8]>>) -> Self {
        entries.sort_unstable();
        // Whatever begins with an entry stands right behind it.
        entries.dedup_by(|next, kept| next.starts_with(kept));
        Self(entries)
    }
}

impl Hashes {
    fn has(&self, hash: &InfoHash) -> bool {
        self.0.binary_search(hash).is_ok()
    }
}

impl Clients {
    fn has(&self, PeerId(id): &PeerId) -> bool {
        let after = self.0.partition_point(|entry| entry[..] <= id[..]);
        after.checked_sub(1).is_some_and(|at| id.starts_with(&self.0[at]))
    }
}

/// Reads a list. No line is longer in memory than it may be.
pub(super) fn read<L: List>(mut source: impl BufRead) -> Result<L, Line> {
    let (mut entries, mut line) = (Vec::new(), Vec::new());
    for number in 1_usize.. {
        line.clear();
        let mut part = source.by_ref().take(LIST_LINE_LEN_MAX as u64 + 1);
        if part.read_until(b'\n', &mut line).map_err(Line::Unread)? == 0 {
            break;
        }
        if line.len() > LIST_LINE_LEN_MAX {
            return Err(Line::Bad(number, format!("longer than {LIST_LINE_LEN_MAX} bytes")));
        }
        let text = line.split(|byte| *byte == b'#').next().unwrap_or_default().trim_ascii();
        if text.is_empty() {
            continue;
        }
        let entry = std::str::from_utf8(text).map_err(|_| "not UTF-8").and_then(L::entry);
        entries.push(entry.map_err(|reason| Line::Bad(number, reason.to_owned()))?);
        if entries.len() > L::MAX {
            return Err(Line::Bad(number, format!("more than {} entries", L::MAX)));
        }
    }
    Ok(L::of(entries))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn clients(text: &str) -> Clients {
        read(text.as_bytes()).expect("a good list")
    }

    #[test]
    fn a_client_is_known_by_the_beginning_of_its_peer_id() {
        let list = clients("# old ones\n-XL0012-\n-XL00\r\n\n  M7-  # and that\n-XL\n-UT1\n");
        assert_eq!(list.0.len(), 3, "{list:?}");
        for (id, expected) in [
            (b"-XL0018-000000000000", true),
            (b"-XL0012-000000000000", true),
            (b"-XM0012-000000000000", false),
            (b"M7-4-0--000000000000", true),
            (b"-UT2210-000000000000", false),
            (
                b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                false,
            ),
            (b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", false),
        ] {
            assert_eq!(list.has(&PeerId(*id)), expected, "{id:?}");
        }
    }

    #[test]
    fn a_line_that_means_nothing_is_found() {
        fn check<L: List + std::fmt::Debug>(text: &[u8], line: usize, reason: &str) {
            match read::<L>(text) {
                Err(Line::Bad(at, why)) => assert_eq!((at, why.as_str()), (line, reason)),
                other => panic!("{other:?}"),
            }
        }
        let hash = "ab".repeat(20);
        let digits = "an info hash has 40 or 64 hex digits";
        check::<Hashes>(format!("{hash}\n{hash}0").as_bytes(), 2, digits);
        check::<Hashes>(format!("{hash} {hash}\n").as_bytes(), 1, digits);
        check::<Hashes>(b"\n\n\xff\xfe\n", 3, "not UTF-8");
        check::<Hashes>(&vec![b' '; 1 << 20], 1, "longer than 1024 bytes");
        let client =
            "the beginning of a peer id, as in -TR40, has 1 to 20 printable ASCII characters";
        check::<Clients>(b"-TR 40", 1, client);
        check::<Clients>(&[b'a'; 21], 1, client);
    }

    proptest! {
        #[test]
        fn a_client_list_knows_what_a_plain_search_finds(
            entries in proptest::collection::vec("[ab]{1,4}", 0..12),
            ids in proptest::collection::vec("[abc]{20}", 1..20),
        ) {
            let list = clients(&entries.join("\n"));
            for id in ids {
                let expected = entries.iter().any(|entry| id.starts_with(entry.as_str()));
                let id: [u8; 20] = id.as_bytes().try_into().expect("20 letters");
                prop_assert_eq!(list.has(&PeerId(id)), expected);
            }
        }
    }
}
