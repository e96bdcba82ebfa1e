//! HTTP trackers: a query behind the tracker's own, a bencoded body.

use std::net::SocketAddr;

use proto::InfoHash;
use proto::tracker::http::{
    announce_query, decode_announced, decode_scraped, scrape_query, scrape_url,
};
use proto::tracker::{Announce, Announced, Scraped};
use url::Url;

use super::TrackerError;
use crate::http::{Limits, Response, get};

pub(super) async fn announce(
    url: &Url,
    addr: Option<SocketAddr>,
    announce: &Announce,
    limits: Limits,
) -> Result<Announced, TrackerError> {
    let url = with_query(url.clone(), &announce_query(announce));
    let response = get(&url, &Limits { addr, ..limits }).await?;
    judge(&response, decode_announced(&response.body).map_err(TrackerError::from))
}

pub(super) async fn scrape(
    url: &Url,
    info_hashes: &[InfoHash],
    limits: Limits,
) -> Result<Scraped, TrackerError> {
    let url = scrape_url(url.as_str()).and_then(|url| Url::parse(&url).ok());
    let url = with_query(url.ok_or(TrackerError::NoScrape)?, &scrape_query(info_hashes));
    let response = get(&url, &limits).await?;
    judge(&response, decode_scraped(&response.body, info_hashes).map_err(TrackerError::from))
}

/// A body that says why counts more than a status; a status counts more than a body that is not
/// bencode.
fn judge<T>(
    response: &Response,
    decoded: Result<Result<T, proto::tracker::Refusal>, TrackerError>,
) -> Result<T, TrackerError> {
    match decoded {
        Ok(Err(refusal)) => Err(TrackerError::Refused(refusal)),
        _ if !response.status.is_success() => Err(TrackerError::Status(response.status.as_u16())),
        Ok(Ok(answer)) => Ok(answer),
        Err(error) => Err(error),
    }
}

/// Puts `query` behind what the URL has already, which may be a pass key.
fn with_query(mut url: Url, query: &str) -> Url {
    let own = url.query().filter(|own| !own.is_empty());
    let all = own.map_or_else(|| query.to_owned(), |own| format!("{own}&{query}"));
    url.set_query(Some(&all));
    url.set_fragment(None);
    url
}
