//! Which files of a torrent somebody wants: by number, by pattern, or by a magnet link (BEP 53).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::FileIndex;
use crate::glob::{Glob, GlobError};
use crate::metainfo::Info;
use crate::metainfo::limits::FILE_COUNT_MAX;

/// Which files of a torrent are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Choice {
    /// All of them.
    #[default]
    All,
    /// Those that a magnet link names (`so`), by [`Info::link_number`]. What is not there is left out.
    Linked(Numbers),
    /// Those that any of these means; each must mean at least one.
    Matching(Vec<Pattern>),
}

/// What somebody types to mean some files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    means: Means,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Means {
    /// The first file is 1.
    Numbers(Numbers),
    Paths(Glob),
}

/// Numbers in rising order, written as `0,2,4-6`. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers(Vec<RangeInclusive<u32>>);

/// Why a [`Pattern`] cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A list of numbers that is none.
    #[error("{0:?} is no list of numbers such as 1,3-5; write ./{0} if it is a file's name")]
    Numbers(String),
    /// A pattern for paths that is none.
    #[error("the pattern {0:?} {1}")]
    Paths(String, GlobError),
}

/// No file of the torrent is meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no file of {name:?} is meant by {what}; there are {there}")]
pub struct NoSuchFile {
    name: String,
    what: String,
    /// Some of what there is.
    there: String,
}

impl Choice {
    /// For each file of the torrent, whether it is wanted.
    pub fn of(&self, info: &Info) -> Result<Vec<bool>, NoSuchFile> {
        let every = || (0..info.files().len() as u32).map(FileIndex);
        let wanted: Vec<bool> = match self {
            Self::All => every().map(|_| true).collect(),
            Self::Linked(numbers) => {
                every().map(|file| numbers.contains(info.link_number(file))).collect()
            }
            Self::Matching(patterns) => {
                let mut wanted = vec![false; info.files().len()];
                for pattern in patterns {
                    let mut any = false;
                    for (place, file) in wanted.iter_mut().zip(every()) {
                        let meant = pattern.means(info, file);
                        (any, *place) = (any | meant, *place | meant);
                    }
                    if !any {
                        return Err(NoSuchFile::new(info, format!("{:?}", pattern.text)));
                    }
                }
                wanted
            }
        };
        match wanted.contains(&true) {
            true => Ok(wanted),
            false => Err(NoSuchFile::new(info, "the magnet link".to_owned())),
        }
    }
}

impl Pattern {
    fn means(&self, info: &Info, file: FileIndex) -> bool {
        match &self.means {
            Means::Numbers(numbers) => numbers.contains(file.0 + 1),
            Means::Paths(glob) => glob.matches(&info.files()[file.0 as usize].path),
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numeric = |byte: u8| byte.is_ascii_digit() || matches!(byte, b',' | b'-');
        let means = if !text.is_empty() && text.bytes().all(numeric) {
            let numbers = text.split(',').map(range).collect::<Option<Vec<_>>>();
            let numbers = numbers.filter(|ranges| ranges.iter().all(|range| *range.start() > 0));
            let numbers = numbers.and_then(Numbers::new);
            Means::Numbers(numbers.ok_or_else(|| PatternError::Numbers(text.to_owned()))?)
        } else {
            let glob = Glob::parse(text);
            Means::Paths(glob.map_err(|error| PatternError::Paths(text.to_owned(), error))?)
        };
        Ok(Self { text: text.to_owned(), means })
    }
}

impl Numbers {
    /// Puts ranges in order; `None` when there is none, or more than [`RANGES_MAX`].
    #[must_use]
    pub fn new(mut ranges: Vec<RangeInclusive<u32>>) -> Option<Self> {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u32>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if *range.start() <= last.end().saturating_add(1) => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                _ => merged.push(range),
            }
        }
        (1..=RANGES_MAX).contains(&merged.len()).then_some(Self(merged))
    }

    /// The numbers of a list; `None` when it is empty.
    pub fn of(numbers: impl IntoIterator<Item = u32>) -> Option<Self> {
        Self::new(numbers.into_iter().map(|number| number..=number).collect())
    }

    /// Whether the number is one of them.
    #[must_use]
    pub fn contains(&self, number: u32) -> bool {
        let at = self.0.partition_point(|range| *range.end() < number);
        self.0.get(at).is_some_and(|range| range.contains(&number))
    }

    /// Reads the list of a magnet link, as far as it can be read: BEP 53 has no word for what cannot.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        Self::new(text.split(',').take(RANGES_MAX).filter_map(|item| range(item.trim())).collect())
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match (range.start(), range.end()) {
                (start, end) if start == end => write!(f, "{comma}{start}")?,
                (start, end) => write!(f, "{comma}{start}-{end}")?,
            }
        }
        Ok(())
    }
}

/// `N` or `N-M`.
fn range(text: &str) -> Option<RangeInclusive<u32>> {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|number| plain && *number <= NUMBER_MAX)
    };
    let (start, end) = text.split_once('-').unwrap_or((text, text));
    let (start, end) = (number(start)?, number(end)?);
    (start <= end).then_some(start..=end)
}

impl NoSuchFile {
    fn new(info: &Info, what: String) -> Self {
        let mut there: Vec<String> = Vec::new();
        for (number, file) in info.files().iter().take(SHOWN_MAX).enumerate() {
            let path = file.path.join("/");
            let cut = &path[..path.floor_char_boundary(SHOWN_LEN_MAX)];
            let dots = if cut.len() < path.len() { "…" } else { "" };
            there.push(format!("{} {cut}{dots}", number + 1));
        }
        let rest = info.files().len().saturating_sub(SHOWN_MAX);
        if rest > 0 {
            there.push(format!("{rest} more"));
        }
        Self { name: info.name().to_owned(), what, there: there.join(", ") }
    }
}

/// No torrent has more files, pads included.
const NUMBER_MAX: u32 = FILE_COUNT_MAX as u32;
/// Ranges in a list: more than the longest magnet link holds usefully.
pub const RANGES_MAX: usize = 10_000;
/// Files that an error names.
const SHOWN_MAX: usize = 10;
/// Bytes of a path that it shows.
const SHOWN_LEN_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metainfo::{ContentHashes, Details, Format, Layout, NewFile, Shape};
    use crate::{BLOCK_LEN, PieceHash};

    /// A v1 torrent of small files of zeros.
    fn info(paths: &[&str]) -> Info {
        let files = paths.iter().map(|path| NewFile {
            path: path.split('/').map(str::to_owned).collect(),
            len: 10,
            ..NewFile::default()
        });
        let files = files.collect();
        let layout = Layout::plan("box", Shape::Folder, files, BLOCK_LEN, Format::V1).unwrap();
        let v1_pieces = vec![PieceHash::default(); layout.geometry().piece_count() as usize];
        let hashes = ContentHashes { v1_pieces, files: Vec::new() };
        layout.build(hashes, Details::default()).unwrap().info
    }

    fn chosen(info: &Info, patterns: &[&str]) -> Result<Vec<usize>, String> {
        let patterns = patterns.iter().map(|text| text.parse().unwrap()).collect();
        let wanted = Choice::Matching(patterns).of(info).map_err(|error| error.to_string())?;
        Ok((0..).zip(wanted).filter_map(|(at, wanted)| wanted.then_some(at)).collect())
    }

    #[test]
    fn numbers_and_patterns_choose_files() {
        let info = info(&["a/1.txt", "a/2.bin", "b/3.txt", "c"]);
        assert_eq!(chosen(&info, &["1,3-4"]), Ok(vec![0, 2, 3]));
        assert_eq!(chosen(&info, &["*.txt", "c"]), Ok(vec![0, 2, 3]));
        assert_eq!(chosen(&info, &["a/", "4"]), Ok(vec![0, 1, 3]));
    }

    #[test]
    fn a_pattern_that_means_nothing_says_what_is_there() {
        let names: Vec<String> = (10..30).map(|number| format!("f{number}")).collect();
        let info = info(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let error = chosen(&info, &["f1*", "*.mkv"]).unwrap_err();
        assert!(
            error.starts_with("no file of \"box\" is meant by \"*.mkv\"; there are 1 f10, 2 f11,")
        );
        assert!(error.ends_with("10 f19, 10 more"), "{error}");
        assert!(chosen(&info, &["21"]).is_err());
        assert_eq!(chosen(&info, &["20-99"]), Ok(vec![19]));
    }

    #[test]
    fn what_is_neither_numbers_nor_a_pattern_is_refused() {
        for text in ["0", "0-3", "1,", "-", "3-1", "1--2", "4294967295", "99999999999"] {
            assert_eq!(text.parse::<Pattern>(), Err(PatternError::Numbers(text.to_owned())));
        }
        for text in ["", "[", "/"] {
            assert!(matches!(text.parse::<Pattern>(), Err(PatternError::Paths(..))), "{text}");
        }
        assert!("./2024".parse::<Pattern>().is_ok());
    }

    #[test]
    fn a_link_whose_numbers_lead_nowhere_chooses_nothing() {
        let info = info(&["a", "b"]);
        let linked = |text| Choice::Linked(Numbers::decode(text).unwrap()).of(&info);
        assert_eq!(linked("1,7"), Ok(vec![false, true]));
        assert!(linked("7").is_err());
    }

    #[test]
    fn lists_of_links_are_read_as_far_as_they_can_be() {
        let cases = [
            ("0,2,4-6", Some("0,2,4-6")),
            ("4-6,2,0,5,1", Some("0-2,4-6")),
            ("3,x,9-7,-1,0-99999999999,1-", Some("3")),
            ("", None),
            ("x", None),
        ];
        for (text, expected) in cases {
            let read = Numbers::decode(text).map(|numbers| numbers.to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn numbers_round_trip_and_hold_what_they_were_made_of(
            numbers in proptest::collection::btree_set(0_u32..200, 1..50),
        ) {
            let made = Numbers::of(numbers.iter().copied()).unwrap();
            prop_assert_eq!(Numbers::decode(&made.to_string()), Some(made.clone()));
            for number in 0..200 {
                prop_assert_eq!(made.contains(number), numbers.contains(&number));
            }
        }
    }
}
