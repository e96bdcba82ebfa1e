//! A file from a web server, going on where it was interrupted.
//!
//! It is written under a name of its own, `….part`, and takes its place when all of it is there and safe
//! on disk; nothing is replaced. What the server says of its version (RFC 9110: `ETag`, else
//! `Last-Modified`) is kept in the state folder: only with it can a rest be asked for (`If-Range`), and
//! whether a whole file is still the newest (`If-None-Match`, `If-Modified-Since`).

use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
};
use node::http::Limits;
use node::http::stream::{self, Streamed};
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use url::Url;

use crate::cli::Context;
use crate::exit::{Failure, Status};
use crate::progress::Progress;
use crate::state::{self, StateDir};

/// What is fetched, and where it goes.
pub(crate) struct Download<'a> {
    pub(crate) url: &'a Url,
    /// The file's own name, absolute.
    pub(crate) path: PathBuf,
    /// What the connection may cost and whom it believes.
    pub(crate) limits: Limits,
    /// Give up after so long without a byte.
    pub(crate) timeout: Option<Duration>,
    pub(crate) state: &'a StateDir,
    pub(crate) context: &'a Context,
}

/// What is remembered of a download.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Memory {
    url: String,
    etag: Option<String>,
    modified: Option<String>,
    /// Of the file that is whole: its size, and when it was written, in nanoseconds since 1970.
    whole: Option<(u64, i64)>,
}

/// How a request ended.
enum Turn {
    /// All is there.
    Whole,
    /// It broke off, for that reason, after so many new bytes.
    Broken(String, u64),
}

impl Download<'_> {
    /// Fetches what is missing; returns the file's path.
    pub(crate) async fn run(&self) -> anyhow::Result<PathBuf> {
        if self.path.symlink_metadata().is_ok() {
            return self.still_the_newest().await;
        }
        let progress = Progress::new(&self.context.output, &self.label(), 0);
        let mut pauses = PAUSES.iter().cycle();
        let mut since = std::time::Instant::now();
        loop {
            match self.context.interrupt.or(self.turn(&progress)).await? {
                Turn::Whole => return self.settle().await,
                Turn::Broken(why, new) => {
                    if new > 0 {
                        (since, pauses) = (std::time::Instant::now(), PAUSES.iter().cycle());
                    }
                    if self.timeout.is_some_and(|timeout| since.elapsed() >= timeout) {
                        let message = format!("{} cannot be fetched: {why}", self.url);
                        return Err(Failure::new(Status::NoPeers, message)
                            .hint("what is here is kept; the same command goes on from there")
                            .into());
                    }
                    self.context.output.note(&format!("{}: {why}; trying again", self.label()));
                }
            }
            let pause = *pauses.next().unwrap_or(&PAUSES[0]);
            let pause = async {
                tokio::time::sleep(pause).await;
                Ok(())
            };
            self.context.interrupt.or(pause).await?;
        }
    }

    fn label(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn part(&self) -> PathBuf {
        let tag = &state::tag(self.url.as_str())[..8];
        let name = self.label();
        // The name must fit with what is appended.
        let mut end = name.len().min(NAME_LEN_MAX - ".12345678.part".len());
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        self.path.with_file_name(format!("{}.{tag}.part", &name[..end]))
    }

    fn memory_path(&self) -> PathBuf {
        let what = format!("{} {}", self.url, self.path.display());
        self.state.path().join("web").join(state::tag(&what))
    }

    fn remembered(&self) -> Option<Memory> {
        let bytes = std::fs::read(self.memory_path()).ok()?;
        let memory: Memory = serde_json::from_slice(&bytes).ok()?;
        (memory.url == self.url.as_str()).then_some(memory)
    }

    fn remember(&self, memory: &Memory) -> anyhow::Result<()> {
        let path = self.memory_path();
        let kept = || {
            std::fs::create_dir_all(path.parent().unwrap_or(&path))?;
            state::write_whole(&path, &serde_json::to_vec(memory)?)
        };
        kept().with_context(|| format!("write {}", path.display()))
    }

    /// Something has the name: it will do if it is what an earlier run fetched, and the server has
    /// nothing newer.
    async fn still_the_newest(&self) -> anyhow::Result<PathBuf> {
        let conflict = |reason: &str| {
            let message = format!("{} is there already{reason}", self.path.display());
            Failure::new(Status::Failed, message)
                .hint("move it away, or choose another folder with --output DIR")
        };
        let found = std::fs::symlink_metadata(&self.path)?;
        let memory = self.remembered().filter(|memory| {
            found.is_file() && memory.whole == Some((found.size(), modified_ns(&found)))
        });
        let Some(memory) = memory else { return Err(conflict("").into()) };
        let mut headers = plain();
        match (&memory.etag, &memory.modified) {
            (Some(etag), _) => put(&mut headers, IF_NONE_MATCH, etag),
            (None, Some(modified)) => put(&mut headers, IF_MODIFIED_SINCE, modified),
            (None, None) => return Ok(self.path.clone()),
        }
        let asked = async { Ok(stream::open(self.url, &headers, &self.limits).await) };
        match self.context.interrupt.or(asked).await? {
            Ok(reply) if reply.status.is_success() => {
                Err(conflict(", and the server has another version of it").into())
            }
            Ok(_) => Ok(self.path.clone()),
            Err(error) => {
                let label = self.label();
                self.context.output.warn(&format!("cannot ask for a newer {label}: {error}"));
                Ok(self.path.clone())
            }
        }
    }

    /// One request for what is missing.
    async fn turn(&self, progress: &Progress) -> anyhow::Result<Turn> {
        let (mut file, here) = self.open_part()?;
        let memory = self.remembered().unwrap_or_default();
        let validator = memory.etag.clone().or_else(|| memory.modified.clone());
        let have = if validator.is_some() { here } else { 0 };
        let mut headers = plain();
        if let Some(validator) = validator.filter(|_| have > 0) {
            put(&mut headers, RANGE, &format!("bytes={have}-"));
            put(&mut headers, IF_RANGE, &validator);
        }
        let mut reply = match stream::open(self.url, &headers, &self.limits).await {
            Ok(reply) => reply,
            Err(error) if error.is_final() => {
                return Err(Failure::new(Status::Failed, format!("{}: {error}", self.url)).into());
            }
            Err(error) => return Ok(Turn::Broken(error.to_string(), 0)),
        };
        let (from, len) = match self.judge(&reply, have)? {
            Worth::Bytes { from, len } => (from, len),
            Worth::Nothing => return Ok(Turn::Whole),
            Worth::Later => {
                return Ok(Turn::Broken(format!("the server answers {}", reply.status), 0));
            }
        };
        let value = |name| reply.headers.get(name).and_then(|value| value.to_str().ok());
        // A weak one says nothing of bytes.
        let etag = value(ETAG).filter(|etag| !etag.starts_with("W/")).map(str::to_owned);
        let modified = value(LAST_MODIFIED).map(str::to_owned);
        let whole = None;
        self.remember(&Memory { url: self.url.to_string(), etag, modified, whole })?;
        file.set_len(from).await.map_err(|error| self.disk(&error))?;
        tokio::io::AsyncSeekExt::seek(&mut file, std::io::SeekFrom::Start(from)).await?;
        progress.set_total(len.unwrap_or(0));
        let mut at = from;
        let ended = loop {
            match reply.chunk().await {
                Ok(Some(bytes)) => {
                    file.write_all(&bytes).await.map_err(|error| self.disk(&error))?;
                    at += bytes.len() as u64;
                    progress.set(at);
                }
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        file.flush().await.map_err(|error| self.disk(&error))?;
        file.sync_data().await.map_err(|error| self.disk(&error))?;
        match ended {
            None if len.is_none_or(|len| len == at) => Ok(Turn::Whole),
            None => Ok(Turn::Broken("the server broke off".to_owned(), at - from)),
            Some(why) => Ok(Turn::Broken(why, at - from)),
        }
    }

    /// The incomplete file, made if it is not there, and its length. Only what belongs to us alone is
    /// written to.
    fn open_part(&self) -> anyhow::Result<(File, u64)> {
        let part = self.part();
        let flags = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
        let mut options = std::fs::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).custom_flags(flags);
        let opened = options.open(&part).map_err(|error| self.disk(&error))?;
        let metadata = opened.metadata()?;
        let ours = metadata.is_file()
            && metadata.nlink() == 1
            && metadata.uid() == rustix::process::geteuid().as_raw();
        if !ours {
            let message = format!("{} is in the way: it belongs to somebody else", part.display());
            return Err(Failure::new(Status::Failed, message).hint("move it away").into());
        }
        Ok((File::from_std(opened), metadata.size()))
    }

    fn judge(&self, reply: &Streamed, have: u64) -> Result<Worth, Failure> {
        let value = |name: HeaderName| reply.headers.get(name).and_then(|v| v.to_str().ok());
        let refused =
            |reason: String| Err(Failure::new(Status::Failed, format!("{}: {reason}", self.url)));
        if value(CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return refused("the server sends it encoded".to_owned());
        }
        match reply.status {
            StatusCode::OK => {
                let len = value(CONTENT_LENGTH).and_then(|len| len.parse().ok());
                Ok(Worth::Bytes { from: 0, len })
            }
            StatusCode::PARTIAL_CONTENT => match value(CONTENT_RANGE).and_then(range) {
                Some((from, len)) if from == have => Ok(Worth::Bytes { from, len: Some(len) }),
                _ => refused("the server sends another range than was asked for".to_owned()),
            },
            StatusCode::RANGE_NOT_SATISFIABLE if have > 0 => {
                let len = value(CONTENT_RANGE).and_then(|value| value.strip_prefix("bytes */"));
                if len.and_then(|len| len.parse().ok()) == Some(have) {
                    return Ok(Worth::Nothing);
                }
                // The file has become shorter: without what is remembered it is fetched from the start.
                let _ = std::fs::remove_file(self.memory_path());
                Ok(Worth::Later)
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Ok(Worth::Later),
            status if status.is_server_error() => Ok(Worth::Later),
            status => refused(format!("the server answers {status}")),
        }
    }

    /// Gives the whole file its name.
    async fn settle(&self) -> anyhow::Result<PathBuf> {
        let (part, path) = (self.part(), self.path.clone());
        let named = tokio::task::spawn_blocking(move || {
            // A link, unlike a rename, replaces nothing. Where there are none, looking must do.
            match std::fs::hard_link(&part, &path) {
                Ok(()) => std::fs::remove_file(&part)?,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(error);
                }
                Err(_) if path.symlink_metadata().is_err() => std::fs::rename(&part, &path)?,
                Err(error) => return Err(error),
            }
            let parent = path.parent().unwrap_or_else(|| Path::new("."));
            std::fs::File::open(parent)?.sync_all()?;
            path.metadata()
        });
        let metadata = named.await?.map_err(|error| self.disk(&error))?;
        let memory = self.remembered().unwrap_or_default();
        let whole = Some((metadata.size(), modified_ns(&metadata)));
        self.remember(&Memory { whole, ..memory })?;
        Ok(self.path.clone())
    }

    fn disk(&self, error: &std::io::Error) -> Failure {
        Failure::disk(format!("write {}: {error}", self.path.display()))
    }
}

/// What a reply is worth.
enum Worth {
    /// The file from there on, and the length of all of it, if the server says so.
    Bytes { from: u64, len: Option<u64> },
    /// All of it was here.
    Nothing,
    /// Another time may bring more.
    Later,
}

fn plain() -> HeaderMap {
    HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("identity"))])
}

/// What a server said is said back to it, so it can be sent.
fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// `bytes FIRST-LAST/LENGTH`: the first, and the length.
fn range(value: &str) -> Option<(u64, u64)> {
    let (range, len) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, _) = range.split_once('-')?;
    Some((first.parse().ok()?, len.parse().ok()?))
}

fn modified_ns(metadata: &std::fs::Metadata) -> i64 {
    metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
}

/// Between attempts, from the start again after each that brought something.
const PAUSES: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];
/// Bytes that a file name may have (NAME_MAX of every common file system).
const NAME_LEN_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_tells_where_it_begins_and_how_long_the_file_is() {
        assert_eq!(range("bytes 5-9/10"), Some((5, 10)));
        for wrong in ["bytes 5-9/*", "5-9/10", "bytes */10", "bytes x-9/10", ""] {
            assert_eq!(range(wrong), None, "{wrong}");
        }
    }
}
