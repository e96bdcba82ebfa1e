//! How much room is taken, by all together and by each stranger, and how much there is.
//!
//! Counted in the transaction that takes or gives back the room, so that it never drifts. A stranger is
//! whoever has no token: known by the secret that they chose and by the network that they came from
//! first, so that neither new secrets nor new names give anybody more than their part. Holders of a
//! token answer to whoever gave it to them, and share all that there is.

use std::net::IpAddr;

use rusqlite::{Connection, params};

use crate::access::Owner;
use crate::limits::{CATALOGUE_BYTES_MAX, CATALOGUE_SHARE_PERCENT, NAMES_MAX, VERSIONS_MAX};

/// How large the catalogue may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogueLimits {
    /// Bytes of all torrent files and of the search index over them, about.
    pub bytes_max: u64,
    /// Per cent of the names, versions and bytes that one stranger may take.
    pub share_percent: u8,
}

impl Default for CatalogueLimits {
    fn default() -> Self {
        Self { bytes_max: CATALOGUE_BYTES_MAX, share_percent: CATALOGUE_SHARE_PERCENT }
    }
}

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// For names.
    #[error("the catalogue is full: it has {NAMES_MAX} names")]
    Names,
    /// For versions.
    #[error("the catalogue is full: it has {VERSIONS_MAX} versions of all names together")]
    Versions,
    /// For bytes.
    #[error(
        "the catalogue is full: its torrent files have {} MiB together; whoever runs the tracker can \
         give it more (--catalogue-max-size)",
        .0 >> 20
    )]
    Bytes(u64),
    /// For this publisher.
    #[error(
        "you have as much of the catalogue as one publisher may: {0} % of it; unpublish something, or \
         ask whoever runs the tracker (--catalogue-share)"
    )]
    Share(u8),
}

/// Room that is taken, or a change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Usage {
    pub(super) names: i64,
    pub(super) versions: i64,
    pub(super) bytes: i64,
}

/// Whose part a name counts for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accounts {
    owner: Option<String>,
    source: String,
}

impl Accounts {
    /// Of a name that `owner` published first, from `source`, in its stored form.
    pub(super) fn new(owner: Option<&Owner>, source: String) -> Self {
        Self { owner: owner.map(|owner| owner.as_str().to_owned()), source }
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        let source = Some(self.source.as_str()).filter(|source| !source.is_empty());
        [Some(EVERYBODY), self.owner.as_deref(), source].into_iter().flatten()
    }
}

/// The network of a stranger, as it is stored: the first 24 bits of an IPv4 address, the first 48 of an
/// IPv6 one, which is what one customer gets. Empty for who has a token.
pub(super) fn source(owner: Option<&Owner>, ip: IpAddr) -> String {
    if owner.is_some_and(Owner::is_token) {
        return String::new();
    }
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

/// Counts a change. What has come down to nothing is forgotten.
pub(super) fn charge(
    connection: &Connection,
    accounts: &Accounts,
    change: Usage,
) -> rusqlite::Result<()> {
    let mut add = connection.prepare_cached(
        "INSERT INTO usage (who, names, versions, bytes) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (who) DO UPDATE SET
         names = names + ?2, versions = versions + ?3, bytes = bytes + ?4",
    )?;
    let mut forget =
        connection.prepare_cached("DELETE FROM usage WHERE who = ? AND versions <= 0")?;
    for who in accounts.all() {
        add.execute(params![who, change.names, change.versions, change.bytes])?;
        forget.execute([who])?;
    }
    Ok(())
}

/// Whether there was room for what [`charge`] has just counted.
pub(super) fn check(
    connection: &Connection,
    accounts: &Accounts,
    limits: &CatalogueLimits,
) -> Result<(), super::CatalogueError> {
    let bytes_max = i64::try_from(limits.bytes_max).unwrap_or(i64::MAX);
    let all = of(connection, EVERYBODY)?;
    if all.names > NAMES_MAX as i64 {
        return Err(Full::Names.into());
    }
    if all.versions > VERSIONS_MAX as i64 {
        return Err(Full::Versions.into());
    }
    if all.bytes > bytes_max {
        return Err(Full::Bytes(limits.bytes_max).into());
    }
    if accounts.source.is_empty() {
        return Ok(());
    }
    let percent = i64::from(limits.share_percent.min(100));
    let part = |all: i64| all / 100 * percent;
    for who in accounts.all().filter(|who| *who != EVERYBODY) {
        let taken = of(connection, who)?;
        if taken.names > part(NAMES_MAX as i64)
            || taken.versions > part(VERSIONS_MAX as i64)
            || taken.bytes > part(bytes_max)
        {
            return Err(Full::Share(limits.share_percent).into());
        }
    }
    Ok(())
}

/// What all together take.
pub(super) fn total(connection: &Connection) -> rusqlite::Result<Usage> {
    of(connection, EVERYBODY)
}

fn of(connection: &Connection, who: &str) -> rusqlite::Result<Usage> {
    let sql = "SELECT names, versions, bytes FROM usage WHERE who = ?";
    let mut rows = connection.prepare_cached(sql)?;
    let mut rows = rows.query([who])?;
    let Some(row) = rows.next()? else { return Ok(Usage::default()) };
    Ok(Usage { names: row.get(0)?, versions: row.get(1)?, bytes: row.get(2)? })
}

/// Stands for all together; no owner and no network is written so.
const EVERYBODY: &str = "all";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_known_by_their_network() {
        let check = |ip: &str, expected: &str| {
            assert_eq!(source(None, ip.parse().unwrap()), expected, "{ip}");
        };
        check("192.0.2.77", "192.0.2.0/24");
        check("::ffff:192.0.2.77", "192.0.2.0/24");
        check("2001:db8:1:2::3", "2001:db8:1::/48");
    }
}
