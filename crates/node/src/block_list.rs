//! Addresses that are never dialled and never answered.
//!
//! Three forms of line are read, as they are found in the world: an address or a network
//! (`192.0.2.0/24`), a range behind a name (`somebody:192.0.2.1-192.0.2.9`), and eMule's
//! (`192.000.002.001 - 192.000.002.009 , 100 , somebody`, where 128 and more stand for access).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The addresses. Empty when nobody is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BlockList {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlockListError {
    /// The file cannot be read.
    #[error("the block list {path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A line makes no sense: better to stop than to let somebody in.
    #[error("line {number} of the block list is no address, network or range: {line:?}")]
    Line {
        /// Counted from 1.
        number: usize,
        /// Its beginning.
        line: String,
    },
}

type Range = (IpAddr, IpAddr);

impl BlockList {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or one of its lines makes no sense.
    pub fn read(path: PathBuf) -> Result<Self, BlockListError> {
        let bytes = std::fs::read(&path);
        let bytes = bytes.map_err(|source| BlockListError::Unreadable { path, source })?;
        // Names of ranges come in whatever encoding; addresses are plain.
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Reads lines; empty ones and those that begin with `#` or `//` say nothing.
    ///
    /// # Errors
    /// When a line makes no sense.
    pub fn parse(text: &str) -> Result<Self, BlockListError> {
        let mut list = Self::default();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim_start_matches('\u{feff}').trim();
            if line.is_empty() || line.starts_with('#') || line.starts_with("//") {
                continue;
            }
            match parse_line(line) {
                Some(Some((IpAddr::V4(low), IpAddr::V4(high)))) if low <= high => {
                    list.v4.push((low.to_bits(), high.to_bits()));
                }
                Some(Some((IpAddr::V6(low), IpAddr::V6(high)))) if low <= high => {
                    list.v6.push((low.to_bits(), high.to_bits()));
                }
                Some(None) => {}
                Some(Some(_)) | None => {
                    let line = line.chars().take(LINE_SHOWN).collect();
                    return Err(BlockListError::Line { number: at + 1, line });
                }
            }
        }
        join(&mut list.v4);
        join(&mut list.v6);
        Ok(list)
    }

    /// Whether an address is on the list.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        match ip.to_canonical() {
            IpAddr::V4(ip) => covers(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => covers(&self.v6, ip.to_bits()),
        }
    }

    /// How many ranges there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Nobody is blocked.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Sorts ranges and makes one of those that touch.
fn join<T: Ord + Copy>(ranges: &mut Vec<(T, T)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
    ranges.shrink_to_fit();
}

fn covers<T: Ord + Copy>(ranges: &[(T, T)], ip: T) -> bool {
    let after = ranges.partition_point(|(low, _)| *low <= ip);
    after.checked_sub(1).is_some_and(|at| ip <= ranges[at].1)
}

/// `Some(None)` for a line that lets somebody in.
fn parse_line(line: &str) -> Option<Option<Range>> {
    if let Some(range) = network(line) {
        return Some(Some(range));
    }
    if let Some((range, rest)) = line.split_once(',') {
        let level = rest.split(',').next()?.trim();
        if let Ok(level) = level.parse::<u32>() {
            let range = parse_range(range)?;
            return Some((level < ACCESS_LEVEL).then_some(range));
        }
    }
    // A name may hold colons and hyphens, and so may an IPv6 range: the longest rest that is a range is it.
    if let Some(range) = parse_range(line) {
        return Some(Some(range));
    }
    let mut behind = line.match_indices(':').map(|(at, _)| &line[at + 1..]);
    behind.find_map(parse_range).map(Some)
}

/// `192.0.2.0/24`, or an address alone.
fn network(text: &str) -> Option<Range> {
    let Some((ip, bits)) = text.split_once('/') else {
        let ip = address(text)?;
        return Some((ip, ip));
    };
    let bits: u32 = bits.trim().parse().ok()?;
    match address(ip)? {
        IpAddr::V4(ip) => {
            let host = u32::MAX.checked_shr(bits).unwrap_or(0);
            let (low, high) = (ip.to_bits() & !host, ip.to_bits() | host);
            (bits <= 32)
                .then(|| (Ipv4Addr::from_bits(low).into(), Ipv4Addr::from_bits(high).into()))
        }
        IpAddr::V6(ip) => {
            let host = u128::MAX.checked_shr(bits).unwrap_or(0);
            let (low, high) = (ip.to_bits() & !host, ip.to_bits() | host);
            (bits <= 128)
                .then(|| (Ipv6Addr::from_bits(low).into(), Ipv6Addr::from_bits(high).into()))
        }
    }
}

fn parse_range(text: &str) -> Option<Range> {
    let (low, high) = text.split_once('-')?;
    Some((address(low)?, address(high)?))
}

/// Lists write IPv4 with leading zeros, which elsewhere would be octal: here they are decimal.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if text.contains(':') {
        return text.parse::<Ipv6Addr>().ok().map(|ip| IpAddr::V6(ip).to_canonical());
    }
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() <= 3)?;
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        *octet = part.parse().ok().filter(|_| digits)?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets).into())
}

/// eMule's: less than that is blocked.
const ACCESS_LEVEL: u32 = 128;
/// Characters of a bad line that are shown.
const LINE_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        let list = BlockList::parse(
            "# comment\n\n// another\n192.0.2.0/24\r\n198.51.100.7\n2001:db8::/32\n\
             Bad: people - of 1999:203.0.113.1-203.0.113.9\nplain:10.0.0.1-10.0.0.1\n\
             011.000.000.001 - 011.000.000.255 , 100 , somebody, somewhere\n\
             012.000.000.001 - 012.000.000.255 , 200 , let in\n\
             v6:2001:db9::1-2001:db9::5\n",
        );
        let list = list.unwrap();
        let blocked = |ip: &str| list.has(ip.parse().unwrap());
        for ip in [
            "192.0.2.0",
            "192.0.2.255",
            "198.51.100.7",
            "2001:db8:ffff::1",
            "203.0.113.9",
            "10.0.0.1",
            "11.0.0.1",
            "11.0.0.255",
            "::ffff:192.0.2.3",
            "2001:db9::3",
        ] {
            assert!(blocked(ip), "{ip}");
        }
        for ip in
            ["192.0.3.0", "198.51.100.8", "2001:dba::1", "203.0.113.10", "12.0.0.7", "11.0.1.0"]
        {
            assert!(!blocked(ip), "{ip}");
        }
    }

    #[test]
    fn ranges_that_overlap_are_one() {
        let list = BlockList::parse("10.0.0.0/8\n10.1.0.0/16\na:9.255.255.0-10.0.0.5\n11.0.0.0/8")
            .unwrap();
        assert_eq!(list.len(), 2);
        assert!(
            list.has("10.255.0.1".parse().unwrap()) && list.has("9.255.255.1".parse().unwrap())
        );
        assert!(BlockList::parse("").unwrap().is_empty());
        let all = BlockList::parse("0.0.0.0/0\n::/0").unwrap();
        assert!(all.has("1.2.3.4".parse().unwrap()) && all.has("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn nonsense_is_named_with_its_line() {
        for line in [
            "nobody",
            "10.0.0.0/33",
            "1.2.3",
            "1.2.3.256",
            "a:1.2.3.9-1.2.3.1",
            "1.2.3.4-::1",
            "1.2.3.4.5",
        ] {
            let error = BlockList::parse(&format!("10.0.0.1\n{line}\n")).unwrap_err();
            let expected =
                format!("line 2 of the block list is no address, network or range: {line:?}");
            assert_eq!(error.to_string(), expected);
        }
    }
}
