//! Statistics for the operator: the tracker as a whole, and torrent by torrent. Of peers only what says
//! nothing of where they are: client, address family, seeder or leecher.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Path, Query, State};
use axum::http::StatusCode;
use proto::InfoHash;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tracker::{Cursor, Overview, Shared, SwarmFacts, Tally};
use utoipa::{IntoParams, ToSchema};

use super::caller::Admin;
use super::dto::{self, RefusalCode};
use super::refusal::Refused;

/// The tracker as a whole.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Statistics {
    /// Seconds since the tracker started.
    pub(crate) uptime: u64,
    /// Names in the catalogue.
    pub(crate) torrents: u64,
    /// Swarms with at least one peer.
    pub(crate) swarms: u64,
    /// Peers of all swarms.
    pub(crate) peers: u64,
    /// Those that have all of their content.
    pub(crate) seeders: u64,
    /// Downloads that ended, also in earlier runs for what the catalogue names.
    pub(crate) completed: u64,
    /// Peers by client.
    pub(crate) clients: Vec<Client>,
    /// The torrents with the most peers.
    pub(crate) largest: Vec<Torrent>,
}

/// Peers of one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Client {
    /// Its name, as far as peer ids tell it.
    pub(crate) client: String,
    /// Seeders over IPv4.
    pub(crate) seeders_v4: u64,
    /// Leechers over IPv4.
    pub(crate) leechers_v4: u64,
    /// Seeders over IPv6.
    pub(crate) seeders_v6: u64,
    /// Leechers over IPv6.
    pub(crate) leechers_v6: u64,
}

/// One torrent, in the catalogue or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Torrent {
    /// The info hash that it is kept under: v1 if it has one, 40 hex digits.
    pub(crate) info_hash: String,
    /// A hybrid's other one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) info_hash_v2: Option<String>,
    /// Peers that have all of it.
    pub(crate) seeders: u32,
    /// Peers that do not yet.
    pub(crate) leechers: u32,
    /// Downloads that ended.
    pub(crate) completed: u32,
}

/// One torrent and its peers by client.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TorrentByClient {
    /// The torrent.
    #[serde(flatten)]
    pub(crate) torrent: Torrent,
    /// Peers by client.
    pub(crate) clients: Vec<Client>,
}

/// Some torrents, in no order. One that comes or goes meanwhile may be missing or be there twice.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TorrentPage {
    /// The torrents.
    pub(crate) torrents: Vec<Torrent>,
    /// Give this as `cursor` for the next page; missing on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

/// Which part of the torrents.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct TorrentQuery {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Torrents on the page, at most 1,000.
    limit: Option<u32>,
}

/// The last look at everything: with millions of peers one takes a second of a core, so it serves for a
/// while, however many ask.
#[derive(Debug, Default)]
pub(super) struct LastOverview(Mutex<Option<(Instant, Arc<Overview>)>>);

impl LastOverview {
    /// A look that is not old.
    pub(super) async fn look(&self, shared: &Arc<Shared>) -> Result<Arc<Overview>, Refused> {
        let mut last = self.0.lock().await;
        if let Some((until, overview)) = &*last
            && *until > Instant::now()
        {
            return Ok(Arc::clone(overview));
        }
        let (start, swarms) = (Instant::now(), Arc::clone(&shared.swarms));
        let looked = tokio::task::spawn_blocking(move || swarms.overview(LARGEST)).await;
        let overview = Arc::new(looked.map_err(|_| stopping())?);
        let serves = (start.elapsed() * REST).max(SERVES_MIN);
        *last = Some((Instant::now() + serves, Arc::clone(&overview)));
        Ok(overview)
    }
}

fn stopping() -> Refused {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Refused::new(status, RefusalCode::Internal, "the tracker is stopping")
}

/// The tracker as a whole; may be some seconds old
#[utoipa::path(get, path = "/api/v1/statistics", tag = "operator", responses(
    (status = 200, body = Statistics), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn overall(
    _: Admin,
    State(shared): State<Arc<Shared>>,
    Extension(last): Extension<Arc<LastOverview>>,
) -> Result<Json<Statistics>, Refused> {
    let overview = last.look(&shared).await?;
    let totals = overview.totals;
    Ok(Json(Statistics {
        uptime: shared.uptime().as_secs(),
        torrents: shared.catalogue.count().await?,
        swarms: totals.swarms as u64,
        peers: totals.peers as u64,
        seeders: totals.seeders as u64,
        completed: totals.completed,
        clients: clients(&overview.tally),
        largest: overview.largest.iter().map(torrent).collect(),
    }))
}

/// All torrents, page by page
#[utoipa::path(get, path = "/api/v1/statistics/torrents", tag = "operator",
    params(TorrentQuery), responses(
    (status = 200, body = TorrentPage), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn torrents(
    _: Admin,
    State(shared): State<Arc<Shared>>,
    query: Result<Query<TorrentQuery>, QueryRejection>,
) -> Result<Json<TorrentPage>, Refused> {
    let Query(TorrentQuery { cursor, limit }) = query?;
    let bad = |error| Refused::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, error);
    let cursor = cursor.map_or(Ok(Cursor::START), |text| text.parse());
    let cursor = cursor.map_err(|_| bad("cursor is not what a page before said"))?;
    let limit = limit.unwrap_or(dto::PAGE_LIMIT).clamp(1, dto::PAGE_LIMIT_MAX);
    let (found, next) = shared.swarms.page(cursor, limit as usize);
    let next = next.map(|next| next.to_string());
    Ok(Json(TorrentPage { torrents: found.iter().map(torrent).collect(), next }))
}

/// One torrent and its peers by client
#[utoipa::path(get, path = "/api/v1/statistics/torrents/{hash}", tag = "operator", params(
    ("hash" = String, Path, description = "An info hash in hex: v1, or v2 cut to 40 digits or whole")
), responses(
    (status = 200, body = TorrentByClient), (status = "4XX", body = dto::Refusal)
))]
pub(super) async fn one_torrent(
    _: Admin,
    State(shared): State<Arc<Shared>>,
    Path(hash): Path<String>,
) -> Result<Json<TorrentByClient>, Refused> {
    let v2 = || hash.parse::<proto::InfoHashV2>().map(proto::InfoHashV2::truncated);
    let Ok(parsed) = hash.parse::<InfoHash>().or_else(|_| v2()) else {
        let error = "an info hash has 40 or 64 hex digits";
        return Err(Refused::new(StatusCode::BAD_REQUEST, RefusalCode::BadRequest, error));
    };
    let found = shared.swarms.tally(&parsed).ok_or_else(|| {
        let error = "no peer has announced this info hash";
        Refused::new(StatusCode::NOT_FOUND, RefusalCode::NotFound, error)
    });
    let (facts, tally) = found?;
    Ok(Json(TorrentByClient { torrent: torrent(&facts), clients: clients(&tally) }))
}

pub(super) fn torrent(facts: &SwarmFacts) -> Torrent {
    Torrent {
        info_hash: facts.info_hash.to_string(),
        info_hash_v2: facts.second.map(|hash| hash.to_string()),
        seeders: facts.counts.seeders,
        leechers: facts.counts.leechers,
        completed: facts.counts.completed,
    }
}

/// Clients with the most peers first.
pub(super) fn clients(tally: &Tally) -> Vec<Client> {
    let mut rows: Vec<_> = tally.rows().collect();
    rows.sort_by_key(|(_, row)| std::cmp::Reverse(row.iter().sum::<u64>()));
    let client = |(class, row): (tracker::ClientClass, [u64; 4])| {
        let [seeders_v4, leechers_v4, seeders_v6, leechers_v6] = row;
        let client = class.name().to_owned();
        Client { client, seeders_v4, leechers_v4, seeders_v6, leechers_v6 }
    };
    rows.into_iter().map(client).collect()
}

/// Torrents that the overview names.
const LARGEST: usize = 20;
/// A look serves so many times longer than it took: looking takes a twentieth of a core at most.
const REST: u32 = 20;
const SERVES_MIN: Duration = Duration::from_secs(2);
