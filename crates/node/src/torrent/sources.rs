//! Web seeds: starting those that are not running, as long as something is wanted.

use std::sync::Arc;

use proto::egress::Nearness;
use proto::metainfo::Info;
use tokio::sync::mpsc;

use super::TorrentTask;
use crate::api::Content;
use crate::web_seed::{self, Way, WebSeed, Wires};
use crate::{clock, http};

impl TorrentTask {
    /// Those that the person names may be anywhere, those that came with the torrent may not lead into
    /// our own network.
    pub(super) fn start_web_seeds(&mut self) {
        let fetches = matches!(self.opening.content, Content::Fetch { .. });
        let (Some(metainfo), Some(storage)) = (&self.metainfo, self.shared.storage.get()) else {
            return;
        };
        if !fetches || self.swarm.stats().complete {
            return;
        }
        let info = storage.info().clone();
        let named = self.opening.web_seeds.named.clone();
        let others = metainfo.web_seeds.iter().filter(|url| !named.contains(url)).cloned();
        let others: Vec<_> = others.map(|url| (url, Nearness::Internet)).collect();
        let running = self.web_seeds.iter().filter(|(key, _)| self.commands.contains_key(key));
        let running: Vec<_> = running.map(|(_, url)| url.clone()).collect();
        for (url, by) in named.into_iter().map(|url| (url, Nearness::Machine)).chain(others) {
            if !running.contains(&url) {
                self.start_web_seed(url, by, info.clone());
            }
        }
    }

    fn start_web_seed(&mut self, url: String, by: Nearness, info: Arc<Info>) {
        let key = self.swarm.handle_web_seed(clock::now());
        let (commands, from_torrent) = mpsc::unbounded_channel();
        self.commands.insert(key, commands);
        self.web_seeds.insert(key, url.clone());
        let config = &self.node.config;
        let (gate, trust) = (config.gate(), config.trust.clone());
        let deadline = web_seed::HEAD_TIME;
        let limits = http::Limits { by, deadline, ..http::Limits::through(gate, trust) };
        let wires = Wires { commands: from_torrent, torrent: self.to_peers.clone() };
        let way = Way {
            limits,
            connections: self.node.connections.clone(),
            rates: self.limits_everywhere(),
            limit_lan: config.limit_lan,
        };
        let web_seed = WebSeed::new((key, url), info, way, self.shared.clone(), wires);
        tokio::task::spawn_local(web_seed.run());
    }
}
