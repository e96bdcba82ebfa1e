//! Files over HTTP while they come (`--stream`): for players, which read from where they like.
//!
//! Each file has the path that it has on disk, the torrent's name first. Range requests are answered with
//! verified bytes only; what is not there yet is fetched first, and waited for. A page of the web must not
//! read along: only names of this machine and those that the person gave are answered
//! ([`crate::own_hosts`]), and no page is told that it may read answers (CORS).

mod body;
mod range;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use http_body_util::Either;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use node::{Reading, Torrent};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use proto::FileIndex;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::body::FileBody;
use self::range::Wanted;
use crate::local_server;
use crate::output::Output;
use crate::own_hosts::OwnHosts;

/// A server that listens; torrents are served once their files are known.
#[derive(Debug)]
pub(crate) struct Streaming {
    listener: TcpListener,
    addr: SocketAddr,
    hosts: OwnHosts,
    readers: Arc<Semaphore>,
}

/// Ends the server when it is dropped.
#[derive(Debug)]
pub(crate) struct Serving {
    task: AbortOnDropHandle<()>,
    readers: Arc<Semaphore>,
    ending: CancellationToken,
}

impl Streaming {
    /// Listens; `hosts` are names under which it may be asked for, beside addresses.
    pub(crate) async fn bind(addr: SocketAddr, hosts: Vec<String>) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(addr).await;
        let listener = listener.with_context(|| {
            format!("cannot listen on {addr} for readers; `ss -lntp` shows who holds the port")
        })?;
        let addr = listener.local_addr().context("the address for readers")?;
        let hosts = OwnHosts::new(hosts.into_iter());
        Ok(Self { listener, addr, hosts, readers: Arc::new(Semaphore::new(READERS_MAX)) })
    }

    /// Serves a torrent, and says where as soon as its files are known.
    pub(crate) fn serve(self, torrent: Torrent, output: Output) -> Serving {
        let readers = self.readers.clone();
        let ending = CancellationToken::new();
        let task = tokio::spawn(self.run(torrent, output, ending.clone()));
        Serving { task: AbortOnDropHandle::new(task), readers, ending }
    }

    async fn run(self, torrent: Torrent, output: Output, ending: CancellationToken) {
        let Some(reading) = torrent.reading().await else { return };
        tell(&reading, self.addr, &output);
        let site = Arc::new(Site { reading, hosts: self.hosts, readers: self.readers });
        let service = service_fn(move |request: Request<Incoming>| {
            let answer = site.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        local_server::serve(self.listener, service, ending.cancelled()).await;
    }
}

impl Serving {
    /// Waits until nobody reads, and what was read has left.
    pub(crate) async fn drained(self) {
        // Never closed.
        let _ = self.readers.acquire_many(READERS_MAX as u32).await;
        self.ending.cancel();
        // Who takes nothing more of what is in the buffers keeps nobody for ever.
        let _ = tokio::time::timeout(body::STALL_TIME, self.task).await;
    }
}

#[derive(Debug, Serialize)]
struct Told {
    addr: String,
    files: Vec<ToldFile>,
}

#[derive(Debug, Serialize)]
struct ToldFile {
    path: String,
    bytes: u64,
    url: String,
}

fn tell(reading: &Reading, addr: SocketAddr, output: &Output) {
    let info = reading.info();
    let every = (0..).map(FileIndex).zip(info.files());
    let files = every.filter(|(index, file)| file.symlink.is_none() && reading.is_readable(*index));
    let files: Vec<_> = files
        .map(|(_, file)| {
            let path: Vec<&str> = info.target_path(file).collect();
            let escaped: Vec<_> =
                path.iter().map(|name| utf8_percent_encode(name, ESCAPED).to_string()).collect();
            let url = format!("http://{}/{}", shown(addr), escaped.join("/"));
            ToldFile { path: path.join("/"), bytes: file.len, url }
        })
        .collect();
    for file in files.iter().take(SHOWN_MAX) {
        output.result(&file.url);
    }
    if files.len() > SHOWN_MAX {
        output.note(&format!("and {} more files; --json has them all", files.len() - SHOWN_MAX));
    }
    output.object("stream", &Told { addr: addr.to_string(), files });
}

/// The address as a URL on this machine has it.
fn shown(addr: SocketAddr) -> SocketAddr {
    if !addr.ip().is_unspecified() {
        return addr;
    }
    let ip = match addr {
        SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, addr.port())
}

/// What is served, and to whom.
#[derive(Debug)]
struct Site {
    reading: Reading,
    hosts: OwnHosts,
    readers: Arc<Semaphore>,
}

type Answer = Response<Either<Full<Bytes>, FileBody>>;

impl Site {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !self.hosts.are_meant(request.headers()) {
            return plain(
                StatusCode::MISDIRECTED_REQUEST,
                "this server answers to its address and to localhost; --stream-host adds names\n",
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            set(answer.headers_mut(), header::ALLOW, "GET, HEAD");
            return answer;
        }
        match self.find(request.uri().path()) {
            Some(file) => self.file(request, file),
            None => plain(StatusCode::NOT_FOUND, "no such file, or not one that is fetched\n"),
        }
    }

    fn find(&self, path: &str) -> Option<FileIndex> {
        let path = percent_decode_str(path.strip_prefix('/')?).decode_utf8().ok()?;
        let info = self.reading.info();
        let is_it = |file: &proto::metainfo::File| {
            file.symlink.is_none() && info.target_path(file).eq(path.split('/'))
        };
        let index = FileIndex(info.files().iter().position(is_it)? as u32);
        self.reading.is_readable(index).then_some(index)
    }

    fn file(&self, request: &Request<Incoming>, index: FileIndex) -> Answer {
        let info = self.reading.info();
        let file = &info.files()[index.0 as usize];
        let tag = format!("\"{}-{}\"", info.hashes().primary(), index.0);
        let asked = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        let is_same = |known: &str| {
            known.split(',').any(|one| matches!(one.trim(), "*") || one.trim() == tag)
        };
        let mut answer = Response::new(Either::Left(Full::default()));
        let headers = answer.headers_mut();
        set(headers, header::ETAG, &tag);
        set(headers, header::ACCEPT_RANGES, "bytes");
        if asked(header::IF_NONE_MATCH).is_some_and(is_same) {
            *answer.status_mut() = StatusCode::NOT_MODIFIED;
            return answer;
        }
        // Without the very tag the file may be another one: then all of it is wanted.
        let same = asked(header::IF_RANGE).is_none_or(|known| known.trim() == tag);
        let wanted = match asked(header::RANGE).filter(|_| same) {
            Some(header) => range::wanted(header, file.len),
            None => Wanted::All,
        };
        let (status, part) = match wanted {
            Wanted::All => (StatusCode::OK, 0..file.len),
            Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
            Wanted::Nothing => {
                set(headers, header::CONTENT_RANGE, &format!("bytes */{}", file.len));
                *answer.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
                return answer;
            }
        };
        if status == StatusCode::PARTIAL_CONTENT {
            let shown = format!("bytes {}-{}/{}", part.start, part.end - 1, file.len);
            set(headers, header::CONTENT_RANGE, &shown);
        }
        let name = file.path.last().map_or("", String::as_str);
        set(headers, header::CONTENT_TYPE, content_type(name));
        set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(headers, header::CONTENT_SECURITY_POLICY, "sandbox");
        set(headers, header::CONTENT_LENGTH, &(part.end - part.start).to_string());
        *answer.status_mut() = status;
        if *request.method() == Method::HEAD {
            return answer;
        }
        let Ok(place) = self.readers.clone().try_acquire_owned() else {
            let mut answer = plain(StatusCode::SERVICE_UNAVAILABLE, "too many readers\n");
            set(answer.headers_mut(), header::RETRY_AFTER, "2");
            return answer;
        };
        *answer.body_mut() = Either::Right(FileBody::new(self.reading.read(index, part), place));
        answer
    }
}

fn plain(status: StatusCode, text: &'static str) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from_static(text.as_bytes()))));
    *answer.status_mut() = status;
    set(answer.headers_mut(), header::CONTENT_TYPE, "text/plain; charset=utf-8");
    answer
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// By the name's end; what could run in a browser is plain bytes.
fn content_type(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end).to_ascii_lowercase();
    match end.as_str() {
        "mp4" | "m4v" => "video/mp4",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "avi" => "video/x-msvideo",
        "mov" => "video/quicktime",
        "mpg" | "mpeg" => "video/mpeg",
        "ts" | "m2ts" => "video/mp2t",
        "ogv" => "video/ogg",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "aac" => "audio/aac",
        "flac" => "audio/flac",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "jpg" | "jpeg" => "image/jpeg",
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "pdf" => "application/pdf",
        "vtt" => "text/vtt; charset=utf-8",
        "txt" | "nfo" | "md" | "srt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What stays as it is in a URL's path: what RFC 3986 calls unreserved.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Bodies under way: each has a position in the swarm and up to 768 KiB in memory.
const READERS_MAX: usize = 16;
/// URLs that people are shown.
const SHOWN_MAX: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_run_in_a_browser_is_plain_bytes() {
        for name in ["a.html", "a.svg", "a.js", "a.xhtml", "html", "a", "a.MKV.html"] {
            assert_eq!(content_type(name), "application/octet-stream", "{name}");
        }
        assert_eq!(content_type("A.MKV"), "video/x-matroska");
    }

    #[test]
    fn a_url_leads_to_this_machine() {
        let shown_as = |addr: &str| shown(addr.parse().expect("an address")).to_string();
        assert_eq!(shown_as("0.0.0.0:80"), "127.0.0.1:80");
        assert_eq!(shown_as("[::]:80"), "[::1]:80");
        assert_eq!(shown_as("10.0.0.1:80"), "10.0.0.1:80");
    }
}
