//! A URL: a torrent file on a web server, or any other file there, which becomes a torrent with that
//! server as its first web seed.

use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use node::http::{self, Limits};
use node::{Content, Source};
use percent_encoding::percent_decode_str;
use proto::metainfo::{Metainfo, limits};
use tracker::About;
use url::Url;

use super::Resolved;
use crate::cli::Context;
use crate::downloading::Download;
use crate::exit::{Failure, Status};
use crate::hashing::{self, FormatArg, Recipe};
use crate::locate::{TrackerArgs, Trackers};
use crate::seeding::{self, Offer};
use crate::state::StateDir;

/// A file on a web server that is to be shared.
pub(super) struct Page<'a> {
    pub(super) url: &'a Url,
    /// Where it goes.
    pub(super) folder: &'a Path,
    /// Its name in the catalogue, if it is to have one.
    pub(super) name: Option<&'a str>,
    pub(super) timeout: Option<Duration>,
    pub(super) trackers: &'a TrackerArgs,
    pub(super) state: &'a StateDir,
}

/// The URL is that of a torrent file, by its name.
pub(super) fn is_torrent(url: &Url) -> bool {
    let path = Path::new(url.path());
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("torrent"))
}

/// Fetches a torrent file.
pub(super) async fn metainfo(
    url: &Url,
    trackers: &Trackers,
    context: &Context,
) -> anyhow::Result<Metainfo> {
    let limits = Limits { body_len_max: limits::FILE_LEN_MAX, ..allowed(trackers) };
    let reply = async { Ok(http::get(url, &limits).await) };
    let reply = context.interrupt.or(reply).await?;
    let reply = reply.map_err(|error| {
        let away = matches!(
            error,
            http::HttpError::Connect { .. }
                | http::HttpError::NotFound { .. }
                | http::HttpError::Timeout(_)
        );
        let status = if away { Status::NoPeers } else { Status::Failed };
        Failure::new(status, format!("cannot fetch {url}: {error}"))
    })?;
    if reply.status != StatusCode::OK {
        let message = format!("cannot fetch {url}: the server answers {}", reply.status);
        return Err(Failure::new(Status::Failed, message).into());
    }
    Metainfo::decode(&reply.body).map_err(|error| {
        Failure::new(Status::Failed, format!("what {url} has is no torrent file: {error}")).into()
    })
}

/// The person names the URL, so it may be anywhere.
fn allowed(trackers: &Trackers) -> Limits {
    Limits { gate: trackers.known.gate(), trust: trackers.known.trust(), ..Limits::default() }
}

impl Page<'_> {
    /// Fetches and hashes the file, and publishes it if it has a name.
    pub(super) async fn resolve(self, context: &Context) -> anyhow::Result<Resolved> {
        let file = file_name(self.url)?;
        refuse_secrets(self.url)?;
        let trackers = self.find_trackers(context).await?;
        let limits = allowed(&trackers);
        let path = self.folder.join(&file);
        let (url, timeout, state) = (self.url, self.timeout, self.state);
        let path = Download { url, path, limits, timeout, state, context }.run().await?;
        let private = match self.name {
            Some(_) => context.interrupt.or(trackers.ask_to_publish(&context.output)).await?,
            None => false,
        };
        let recipe = Recipe { name: file, format: FormatArg::Hybrid, piece_length: None, private };
        let mut made = hashing::create(&path, recipe, context).await?;
        made.metainfo.web_seeds = vec![self.url.to_string()];
        let Some(name) = self.name else {
            let content = Content::Share { path, fresh: Some(made.fresh) };
            let source = Source::Metainfo(Box::new(made.metainfo));
            return Ok(Resolved {
                content: Some(content),
                ..Resolved::open(source, trackers, Vec::new())
            });
        };
        let (name, about) = (name.to_owned(), About::default());
        let offer = Offer { name, path, made, about, trackers, super_seed: false };
        seeding::publish(&offer, context).await?;
        let Offer { path, made, trackers, .. } = offer;
        let source = Source::Metainfo(Box::new(made.metainfo));
        Ok(Resolved {
            content: Some(Content::Share { path, fresh: Some(made.fresh) }),
            ..Resolved::told(source, trackers, Vec::new())
        })
    }

    async fn find_trackers(&self, context: &Context) -> anyhow::Result<Trackers> {
        if self.name.is_none() {
            return self.trackers.named(self.state, &context.output);
        }
        let found = self.trackers.find(self.state, &context.output, &context.interrupt);
        let mut trackers = found.await?;
        trackers.credentials = self.trackers.token.or_key(self.state)?;
        Ok(trackers)
    }
}

/// A URL goes into the torrent, for everybody to see.
fn refuse_secrets(url: &Url) -> Result<(), Failure> {
    if url.username().is_empty() && url.password().is_none() {
        return Ok(());
    }
    let message =
        "a URL with a name or password in it is not fetched: it would be told to everybody";
    Err(Failure::new(Status::Usage, message)
        .hint("fetch the file by other means and `teem share` it"))
}

/// The last part of the URL's path, if a file can have it.
fn file_name(url: &Url) -> Result<String, Failure> {
    let last = url.path_segments().and_then(|mut parts| parts.next_back()).unwrap_or_default();
    let name = percent_decode_str(last).decode_utf8().unwrap_or_default().into_owned();
    let unusable = name.is_empty()
        || matches!(name.as_str(), "." | "..")
        || name.contains(['/', '\\'])
        || name.contains(char::is_control)
        || name.len() > limits::NAME_LEN_MAX;
    if unusable {
        let message = format!("{url} does not end with the name of a file");
        return Err(
            Failure::new(Status::Usage, message).hint("a folder cannot be fetched by its URL")
        );
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(url: &str) -> Option<String> {
        file_name(&url.parse().expect("a URL")).ok()
    }

    #[test]
    fn a_url_names_the_file_that_it_ends_with_and_nothing_that_leads_elsewhere() {
        assert_eq!(name("http://a/b/c%20d.iso?x=y#z").as_deref(), Some("c d.iso"));
        assert_eq!(name("http://a/%C3%BC").as_deref(), Some("ü"));
        for wrong in
            ["http://a", "http://a/b/", "http://a/b%2Fc", "http://a/%2e%2e%2f", "http://a/x%00"]
        {
            assert_eq!(name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn no_password_becomes_part_of_a_torrent() {
        let refused = |url: &str| refuse_secrets(&url.parse().expect("a URL")).is_err();
        assert!(refused("http://me:secret@a/b") && refused("http://me@a/b"));
        assert!(!refused("http://a/b?c=d"));
    }

    #[test]
    fn a_torrent_file_is_told_by_its_name() {
        let is = |url: &str| is_torrent(&url.parse().expect("a URL"));
        assert!(is("https://a/x.torrent?key=1") && is("http://a/X.Torrent"));
        assert!(
            !is("http://a/x.torrent/y") && !is("http://a/torrent") && !is("http://a/?x.torrent")
        );
    }
}
