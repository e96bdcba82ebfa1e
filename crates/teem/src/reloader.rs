//! SIGHUP makes a running tracker take in its lists, tokens and certificate as they are now.

use std::sync::Arc;

use tracker::Shared;

use crate::output::Output;
use crate::signal::Hangup;

/// Waits for SIGHUP until it is dropped.
#[derive(Debug)]
pub(crate) struct Reloader(tokio::task::AbortHandle);

impl Reloader {
    /// Begins to wait on the current runtime.
    pub(crate) fn start(mut hangup: Hangup, shared: &Arc<Shared>, output: &Output) -> Self {
        let (shared, output) = (Arc::clone(shared), output.clone());
        let task = tokio::spawn(async move {
            loop {
                hangup.next().await;
                let errors = shared.reload().await;
                for error in &errors {
                    tracing::error!(%error, "reload");
                }
                if errors.is_empty() {
                    output.note("lists, tokens and certificate were read again");
                }
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Reloader {
    fn drop(&mut self) {
        self.0.abort();
    }
}
