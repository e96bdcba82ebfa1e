//! The piece layers that a magnet link does not bring: written down once they are known, so that the next start
//! knows the whole torrent.

use std::sync::Arc;

use proto::metainfo::{Metainfo, PieceLayers};

use super::TorrentTask;
use crate::disk::Storage;

impl TorrentTask {
    /// Peers told them.
    pub(super) fn on_layers(&mut self, layers: PieceLayers) {
        let Some(metainfo) = &self.metainfo else { return };
        let known = Arc::new(Metainfo { layers, ..(**metainfo).clone() });
        self.metainfo = Some(known.clone());
        self.wiring.tell_metainfo.send_replace(Some(known.clone()));
        let (node, opening) = (self.node.clone(), self.opening.clone());
        let storage = self.shared.storage.get().cloned();
        // All of it may wait for a disk.
        self.saving = Some(tokio::task::spawn_blocking(move || {
            opening.save(&node, &known);
            if let Some(storage) = storage {
                storage.set_layers(known.layers.clone());
                opening.reuse(&storage);
            }
        }));
    }

    /// Copies of the files may have told piece layers that a magnet link did not bring.
    pub(super) fn with_layers_of(
        &mut self,
        storage: &Storage,
        metainfo: Arc<Metainfo>,
    ) -> Arc<Metainfo> {
        let layers = storage.layers();
        if layers == metainfo.layers {
            return metainfo;
        }
        let known = Arc::new(Metainfo { layers, ..(*metainfo).clone() });
        self.metainfo = Some(known.clone());
        known
    }
}
