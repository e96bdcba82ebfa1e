//! Who gives to whom: upload slots, who waits for one and in which place, and which sources are available,
//! connected or unavailable ([`node::UploadState`]). One shape for lines of JSON, the daemon's API and people.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use node::{PeerView, Snapshot};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::output::Output;

/// The upload slots of a torrent. Peers of the local network need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
pub(crate) struct Slots {
    /// How many there are.
    pub(crate) total: usize,
    /// How many are taken.
    pub(crate) used: usize,
    /// Peers that wait for one.
    pub(crate) waiting: usize,
    /// Clients of the chunk protocol that wait for one.
    pub(crate) guests: usize,
}

/// Whether a source gives something to who wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UploadState {
    /// It gives.
    Available,
    /// It is connected and busy with others: who wants something waits for a slot.
    Connected,
    /// It cannot be reached, refused, was banned, or owes what it promised.
    Unavailable,
    /// A word that this version does not know.
    #[serde(other)]
    Other,
}

/// How one who wants something stands with one who may give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Standing {
    pub(crate) state: UploadState,
    /// While waiting for a slot: the place in the queue, 1 the first, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<u32>,
}

/// How many sources of something that is being fetched there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct Sources {
    available: usize,
    connected: usize,
    /// Addresses known to be without use, too.
    unavailable: usize,
}

/// A peer, connected or not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Peer {
    /// Its address; a web seed has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) addr: Option<SocketAddr>,
    /// Its client, when it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    /// There is a connection.
    pub(crate) connected: bool,
    /// It has all.
    pub(crate) seeder: bool,
    /// What it is to us; missing while it has nothing that is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gives: Option<Standing>,
    /// What we are to it; missing while it wants nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) gets: Option<Standing>,
    /// Payload bytes received from it.
    pub(crate) downloaded: u64,
    /// Payload bytes sent to it.
    pub(crate) uploaded: u64,
    /// Bytes a second from it.
    pub(crate) down_rate: u64,
    /// Bytes a second to it.
    pub(crate) up_rate: u64,
}

/// Who takes part in a torrent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Peers {
    pub(crate) slots: Slots,
    /// Those that are connected, then some of those that cannot be had.
    pub(crate) peers: Vec<Peer>,
    /// How many cannot be had in all.
    pub(crate) unavailable: usize,
}

impl From<node::Slots> for Slots {
    fn from(slots: node::Slots) -> Self {
        let node::Slots { total, used, waiting, guests } = slots;
        Self { total, used, waiting, guests }
    }
}

impl From<node::Standing> for Standing {
    fn from(standing: node::Standing) -> Self {
        let state = match standing.state {
            node::UploadState::Available => UploadState::Available,
            node::UploadState::Connected => UploadState::Connected,
            node::UploadState::Unavailable => UploadState::Unavailable,
        };
        Self { state, place: standing.place }
    }
}

impl Standing {
    /// As people read it.
    pub(crate) fn words(self) -> String {
        let word = match self.state {
            UploadState::Available => node::UploadState::Available.as_str(),
            UploadState::Connected => node::UploadState::Connected.as_str(),
            UploadState::Unavailable => node::UploadState::Unavailable.as_str(),
            UploadState::Other => "?",
        };
        match self.place {
            Some(place) => format!("{word}, place {place}"),
            None => word.to_owned(),
        }
    }
}

impl Slots {
    /// As people read it.
    pub(crate) fn words(self) -> String {
        let Self { total, used, waiting, guests } = self;
        let slots = if total == 1 { "slot" } else { "slots" };
        match waiting + guests {
            0 => format!("{used} of {total} {slots}"),
            1 => format!("{used} of {total} {slots}, 1 waits"),
            many => format!("{used} of {total} {slots}, {many} wait"),
        }
    }
}

impl Sources {
    /// Of a torrent that is being fetched.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let mut sources = Self { unavailable: snapshot.unavailable_count, ..Self::default() };
        for gives in snapshot.peers.iter().filter_map(|peer| peer.gives) {
            match gives.state {
                node::UploadState::Available => sources.available += 1,
                node::UploadState::Connected => sources.connected += 1,
                node::UploadState::Unavailable => sources.unavailable += 1,
            }
        }
        sources
    }

    /// What people need to know: only when nobody gives anything.
    pub(crate) fn trouble(snapshot: &Snapshot) -> Option<String> {
        let sources = Self::of(snapshot);
        if sources.available > 0 || sources.connected == 0 {
            return None;
        }
        let places = snapshot.peers.iter().filter_map(|peer| peer.gives?.place);
        Some(match places.min() {
            Some(place) => format!("place {place} in the queue"),
            None => "in the queue".to_owned(),
        })
    }
}

impl From<&PeerView> for Peer {
    fn from(peer: &PeerView) -> Self {
        Self {
            addr: (!peer.web_seed).then_some(peer.addr),
            client: peer.client.clone(),
            connected: true,
            seeder: peer.seeder,
            gives: peer.gives.map(Into::into),
            gets: peer.gets.map(Into::into),
            downloaded: peer.downloaded,
            uploaded: peer.uploaded,
            down_rate: peer.down_rate,
            up_rate: peer.up_rate,
        }
    }
}

impl Peer {
    /// One that is not connected: it cannot be had, or has gone.
    fn absent(addr: SocketAddr, gives: Option<Standing>) -> Self {
        Self {
            addr: Some(addr),
            client: None,
            connected: false,
            seeder: false,
            gives,
            gets: None,
            downloaded: 0,
            uploaded: 0,
            down_rate: 0,
            up_rate: 0,
        }
    }

    fn unavailable(addr: SocketAddr) -> Self {
        Self::absent(addr, Some(Standing { state: UploadState::Unavailable, place: None }))
    }
}

impl From<&Snapshot> for Peers {
    fn from(snapshot: &Snapshot) -> Self {
        let connected = snapshot.peers.iter().map(Peer::from);
        let absent = snapshot.unavailable.iter().copied().map(Peer::unavailable);
        Self {
            slots: snapshot.slots.into(),
            peers: connected.chain(absent).collect(),
            unavailable: snapshot.unavailable_count,
        }
    }
}

/// Tells programs, and people with `-vv`, when something of this changes.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    slots: Option<Slots>,
    peers: BTreeMap<SocketAddr, (Option<Standing>, Option<Standing>)>,
}

/// A line of JSON about one thing of a torrent.
#[derive(Serialize)]
struct Of<'a, T> {
    name: Option<&'a str>,
    #[serde(flatten)]
    told: T,
}

impl Teller {
    /// Tells what has changed since it was told last.
    pub(crate) fn tell(&mut self, snapshot: &Snapshot, output: &Output) {
        let Peers { slots, peers, .. } = snapshot.into();
        let name = snapshot.name.as_deref();
        // A torrent that does not run yet has none.
        if slots.total > 0 && self.slots.replace(slots) != Some(slots) {
            tracing::debug!(name, slots = slots.words(), "upload slots");
            output.object("slots", &Of { name, told: slots });
        }
        let mut gone = std::mem::take(&mut self.peers);
        for peer in &peers {
            let Some(addr) = peer.addr else { continue };
            let now = (peer.gives, peer.gets);
            // Who neither gives nor wants anything is no news.
            if gone.remove(&addr).unwrap_or_default() != now {
                tell_of(name, peer, output);
            }
            self.peers.insert(addr, now);
        }
        for (addr, before) in gone {
            if before != (None, None) {
                tell_of(name, &Peer::absent(addr, None), output);
            }
        }
    }
}

fn tell_of(name: Option<&str>, peer: &Peer, output: &Output) {
    let words = |standing: Option<Standing>| standing.map(Standing::words).unwrap_or_default();
    let (addr, gives, gets) = (peer.addr, words(peer.gives), words(peer.gets));
    tracing::debug!(name, ?addr, gives, gets, "peer");
    output.object("peer", &Of { name, told: peer });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_words_and_places() {
        let waits = Standing { state: UploadState::Connected, place: Some(2) };
        assert_eq!(waits.words(), "connected, place 2");
        let given = Standing { state: UploadState::Available, place: None };
        assert_eq!(given.words(), "available");
        let slots = Slots { total: 8, used: 3, waiting: 0, guests: 0 };
        assert_eq!(slots.words(), "3 of 8 slots");
        let busy = Slots { total: 1, used: 1, waiting: 2, guests: 1 };
        assert_eq!(busy.words(), "1 of 1 slot, 3 wait");
    }

    #[test]
    fn words_of_later_versions_can_be_read() {
        let read: Standing = serde_json::from_str(r#"{"state":"dreaming"}"#).expect("JSON");
        assert_eq!(read, Standing { state: UploadState::Other, place: None });
        let waits = Standing { state: UploadState::Connected, place: Some(1) };
        let written = serde_json::to_string(&waits).expect("JSON");
        assert_eq!(written, r#"{"state":"connected","place":1}"#);
    }
}
