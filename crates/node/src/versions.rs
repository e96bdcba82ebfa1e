//! Versions of the same content that follow each other in one folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use proto::metainfo::Metainfo;

use crate::disk::switch::{self, Present, SwitchError};
use crate::node::Node;
use crate::record::Records;

impl Node {
    /// Which version stands under `name` in `folder`, if this node fetched it there.
    pub async fn present(&self, folder: &Path, name: &str) -> Result<Option<Present>, SwitchError> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        self.with_records(move |records| switch::present(records, &folder, &name)).await
    }

    /// Goes on with a [`Node::replace`] that an earlier run did not end; returns where a person's files
    /// are for which there was no room under their own names.
    pub async fn finish_replacing(
        &self,
        folder: &Path,
        name: &str,
    ) -> Result<Vec<PathBuf>, SwitchError> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        self.with_records(move |records| switch::finish(records, &folder, &name)).await
    }

    /// Puts `new`, which was fetched whole into its [`stage_of`](crate::disk::switch::stage_of), in the
    /// place of `old` in `folder`; returns as [`Node::finish_replacing`]. Both torrents must be stopped.
    pub async fn replace(
        &self,
        folder: &Path,
        old: Metainfo,
        new: Metainfo,
    ) -> Result<Vec<PathBuf>, SwitchError> {
        let folder = folder.to_owned();
        self.with_records(move |records| switch::replace(records, &folder, &old, &new)).await
    }

    /// Throws away versions of `name` that were begun and never became whole. None may be running.
    pub async fn discard_begun(&self, folder: &Path, name: &str) -> Result<(), SwitchError> {
        let (folder, name) = (folder.to_owned(), name.to_owned());
        self.with_records(move |records| switch::discard(records, &folder, &name)).await
    }

    async fn with_records<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Records) -> Result<T, SwitchError> + Send + 'static,
    ) -> Result<T, SwitchError> {
        let records: Arc<Records> = self.records();
        let worked = tokio::task::spawn_blocking(move || work(&records)).await;
        worked.unwrap_or_else(|error| {
            let what = "look after versions".to_owned();
            Err(SwitchError::Io { what, source: std::io::Error::other(error) })
        })
    }
}
