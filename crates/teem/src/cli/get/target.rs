//! What the person wants, by how it is written.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use proto::magnet::Magnet;
use proto::{InfoHashV1, InfoHashV2, InfoHashes};
use url::Url;

use crate::exit::{Failure, Status};

/// What the person wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    Name(String),
    /// All names below it; ends with a slash.
    Folder(String),
    /// A name below such a folder, which goes into folders of its parts.
    InFolder(String),
    Hash(InfoHashes),
    Magnet(Box<Magnet>),
    File(PathBuf),
    Url(Url),
}

impl FromStr for Target {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:")) {
            let magnet = text.parse::<Magnet>();
            return magnet.map(Box::new).map(Self::Magnet).map_err(|error| {
                Failure::new(Status::Usage, format!("this magnet link cannot be used: {error}"))
                    .hint("put it in quotes: the shell takes `&` for itself")
            });
        }
        if text.contains("://") {
            let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            return url.map(Self::Url).ok_or_else(|| {
                Failure::new(Status::Usage, format!("{text} is not an http or https URL"))
            });
        }
        let v1 = text.parse::<InfoHashV1>().ok();
        let v2 = text.parse::<InfoHashV2>().ok();
        if let Some(hashes) = InfoHashes::new(v1, v2) {
            return Ok(Self::Hash(hashes));
        }
        let path = Path::new(text);
        let torrent_file = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("torrent"));
        if torrent_file && (path.is_file() || path.components().count() > 1) {
            return Ok(Self::File(path.to_owned()));
        }
        if text.len() > 1 && text.ends_with('/') {
            return Ok(Self::Folder(text.to_owned()));
        }
        Ok(Self::Name(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<Target> {
        text.parse().ok()
    }

    #[test]
    fn hashes_and_names_are_told_apart() {
        let v1 = "0123456789abcdef0123456789abcdef01234567";
        let hashes = InfoHashes::new(v1.parse().ok(), None).expect("one hash");
        assert_eq!(parsed(v1), Some(Target::Hash(hashes)));
        let v2 = "01".repeat(32);
        let hashes = InfoHashes::new(None, v2.parse().ok()).expect("one hash");
        assert_eq!(parsed(&v2), Some(Target::Hash(hashes)));
        for name in ["debian.iso", "a b", "gone.torrent", &v1[1..]] {
            assert_eq!(parsed(name), Some(Target::Name(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn a_path_to_a_torrent_file_is_never_taken_for_a_name() {
        let path = "gone/x.torrent";
        assert_eq!(parsed(path), Some(Target::File(path.into())));
    }

    #[test]
    fn broken_links_and_urls_are_wrong_use() {
        for text in ["magnet:?xt=urn:btih:123", "ftp://x/a.torrent", "http://"] {
            let refused = text.parse::<Target>().map_err(anyhow::Error::from);
            assert_eq!(refused.map_err(|error| crate::exit::status(&error)), Err(Status::Usage));
        }
    }
}
