//! Web seeds: servers that have the content as plain files (BEP 19).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{File, Info};

/// Whether a URL may be a web seed: it is one of http or https.
#[must_use]
pub fn is_web_seed(url: &str) -> bool {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

impl Info {
    /// Where the web seed `base` has a file. A URL that ends with a slash is the folder that the torrent's
    /// file or folder is in; without one it is a single file itself, or that folder all the same.
    #[must_use]
    pub fn url_at_web_seed(&self, base: &str, file: &File) -> String {
        let is_folder = base.ends_with('/');
        if self.single_file && !is_folder {
            return base.to_owned();
        }
        let mut url = base.to_owned();
        for (number, name) in self.target_path(file).enumerate() {
            if number > 0 || !is_folder {
                url.push('/');
            }
            url.extend(utf8_percent_encode(name, ESCAPED));
        }
        url
    }
}

/// What stays as it is in a path: what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bencode::{DictEncoder, ListEncoder};
    use crate::metainfo::Metainfo;

    fn info(name: &str, paths: &[&[&str]]) -> Info {
        let mut info = DictEncoder::new();
        info.bytes(b"name", name.as_bytes());
        info.int(b"piece length", 16384);
        info.bytes(b"pieces", &[7; 20]);
        if paths.is_empty() {
            info.int(b"length", 5);
        } else {
            let mut files = ListEncoder::new();
            for path in paths {
                let mut list = ListEncoder::new();
                path.iter().for_each(|name| _ = list.bytes(name.as_bytes()));
                let mut file = DictEncoder::new();
                file.int(b"length", 5);
                file.list(b"path", list);
                files.raw(&file.finish());
            }
            info.list(b"files", files);
        }
        Info::decode(&info.finish()).unwrap()
    }

    #[test]
    fn files_lie_below_the_folder_under_escaped_names() {
        let tree = info("a b", &[&["ü?", "c#d"], &["100%"]]);
        let url = |base, file: usize| tree.url_at_web_seed(base, &tree.files[file]);
        assert_eq!(url("http://h/x/", 0), "http://h/x/a%20b/%C3%BC%3F/c%23d");
        assert_eq!(url("http://h/x", 1), "http://h/x/a%20b/100%25");
    }

    #[test]
    fn a_single_file_is_the_url_or_in_the_folder() {
        let single = info("a b", &[]);
        let url = |base| single.url_at_web_seed(base, &single.files[0]);
        assert_eq!(url("http://h/x.bin?key=1"), "http://h/x.bin?key=1");
        assert_eq!(url("http://h/x/"), "http://h/x/a%20b");
    }

    #[test]
    fn a_torrent_file_keeps_its_web_seeds() {
        let plain = Metainfo::from(info("a", &[]));
        let with = |value: &dyn Fn(&mut DictEncoder)| {
            let mut root = DictEncoder::new();
            root.raw(b"info", plain.info.raw().to_vec());
            value(&mut root);
            Metainfo::decode(&root.finish()).unwrap()
        };
        let one = with(&|root| _ = root.bytes(b"url-list", b"HTTP://h/a"));
        assert_eq!(one.web_seeds, ["HTTP://h/a"]);
        let many = with(&|root| {
            let mut urls = ListEncoder::new();
            let usable = (0..99).map(|number| format!("https://h/{number}"));
            let others = ["ftp://h/a", "file:///etc/passwd", "", "http://h/\u{1b}[2J", "x"];
            for url in others.map(str::to_owned).into_iter().chain(usable.clone()).chain(usable) {
                urls.bytes(url.as_bytes());
            }
            root.list(b"url-list", urls);
        });
        assert_eq!(many.web_seeds.len(), 32);
        assert_eq!(many.web_seeds[0], "https://h/0");
        assert_eq!(many.magnet().web_seeds, many.web_seeds);
        assert!(with(&|root| _ = root.bytes(b"url-list", b"")).web_seeds.is_empty());
        assert!(with(&|root| _ = root.int(b"url-list", 5)).web_seeds.is_empty());
        for metainfo in [one, many] {
            assert_eq!(Metainfo::decode(&metainfo.encode()).unwrap(), metainfo);
        }
    }
}
