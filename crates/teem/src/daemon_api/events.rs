//! The stream of events: the list of torrents, and then what changes in it, as server-sent events.
//!
//! Whoever follows asks the daemon, all of them together four times a second at most; nobody asks while nobody
//! follows. Each gets what came since it was told last, so one that reads slowly costs no memory.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior};

use super::dto::{self, RefusalCode};
use super::feed::{EventId, Feed, News};
use super::routes::{Refused, list_of};
use super::table::Shared;

/// Those who follow.
#[derive(Debug)]
pub(super) struct Followers {
    feed: Mutex<(Feed, Option<Instant>)>,
    places: Arc<Semaphore>,
}

impl Default for Followers {
    fn default() -> Self {
        let feed = Feed::new(rand::random());
        Self { feed: Mutex::new((feed, None)), places: Arc::new(Semaphore::new(FOLLOWERS_MAX)) }
    }
}

impl Followers {
    /// What somebody is to be told who was told that last, and where that leads; `None` when the daemon ends.
    async fn news(&self, shared: &Shared, told: Option<EventId>) -> Option<(News, EventId)> {
        let mut feed = self.feed.lock().await;
        let (feed, looked_at) = &mut *feed;
        if looked_at.is_none_or(|at| at.elapsed() >= FRESH) {
            feed.note(list_of(shared).await.ok()?);
            *looked_at = Some(Instant::now());
        }
        Some((feed.since(told), feed.at()))
    }
}

/// One who follows.
struct Follower {
    shared: Arc<Shared>,
    told: Option<EventId>,
    tick: tokio::time::Interval,
    _place: OwnedSemaphorePermit,
}

/// Everything that changes, as it changes
///
/// Server-sent events. First `snapshot` with all torrents, then `change` with those that are new or differ, and
/// the ids of those that are gone; twice a second at most. Who names the id of the last event that came
/// (`Last-Event-ID`) gets what came after it, if that is still known, else a `snapshot`. The time for which a
/// torrent was seeded is told with its other changes only.
#[utoipa::path(get, path = "/api/v1/events", tag = "transfers", params(
    ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that came")
), responses(
    (status = 200, content_type = "text/event-stream", body = dto::Change), (status = "4XX", body = dto::Refusal),
    (status = 503, body = dto::Refusal)
))]
pub(super) async fn follow(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refused> {
    let place = shared.followers.places.clone().try_acquire_owned().map_err(|_| {
        let error = format!("{FOLLOWERS_MAX} follow already");
        Refused::new(StatusCode::SERVICE_UNAVAILABLE, RefusalCode::Busy, error)
    })?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let told = last.and_then(|id| id.parse().ok());
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let follower = Follower { shared, told, tick, _place: place };
    let events = stream::unfold(follower, async |mut follower| {
        let events = follower.next().await?;
        Some((stream::iter(events), follower))
    });
    Ok(Sse::new(events.flatten().map(Ok)).keep_alive(KeepAlive::new().interval(SIGN_OF_LIFE)))
}

impl Follower {
    async fn next(&mut self) -> Option<Vec<Event>> {
        self.tick.tick().await;
        let (news, at) = self.shared.followers.news(&self.shared, self.told).await?;
        self.told = Some(at);
        Some(match news {
            News::Snapshot(all) => vec![event("snapshot", at, &all)],
            News::Changes(changes) => {
                changes.iter().map(|(id, change)| event("change", *id, &**change)).collect()
            }
        })
    }
}

fn event(kind: &str, id: EventId, data: &impl Serialize) -> Event {
    // JSON has no line breaks, and these types always become some.
    let data = serde_json::to_string(data).unwrap_or_default();
    Event::default().event(kind).id(id.to_string()).data(data)
}

/// As often as people see something new.
const EVERY: Duration = Duration::from_millis(500);
/// What was asked so lately is still so.
const FRESH: Duration = Duration::from_millis(250);
/// Proxies and browsers give up on silence.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Fewer than there are connections, so that orders find one.
const FOLLOWERS_MAX: usize = 32;
