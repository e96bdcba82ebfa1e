//! Reading again what the operator may change while the tracker runs: lists, tokens, the certificate.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::access::TokenStoreError;
use crate::lists::{ListError, ListSizes};
use crate::server::Shared;
use crate::tls::CertificateError;

/// Something could not be taken in; what was in use stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The lists.
    #[error("the old lists stay: {0}")]
    Lists(#[from] ListError),
    /// The tokens.
    #[error("the old tokens stay: {0}")]
    Tokens(#[from] TokenStoreError),
    /// The certificate.
    #[error("the old certificate stays: {0}")]
    Certificate(#[from] CertificateError),
}

impl Shared {
    /// Takes in lists, tokens and the certificate as they are now. One that cannot be used does not keep
    /// the others from being taken in.
    pub async fn reload(self: &Arc<Self>) -> Vec<ReloadError> {
        let shared = Arc::clone(self);
        let errors = tokio::task::spawn_blocking(move || shared.reload_blocking()).await;
        // Only a runtime that ends cancels it.
        errors.unwrap_or_default()
    }

    fn reload_blocking(&self) -> Vec<ReloadError> {
        let mut errors = Vec::new();
        match self.lists.reload() {
            Ok(ListSizes { hashes, clients }) => tracing::info!(hashes, clients, "lists were read"),
            Err(error) => errors.push(error.into()),
        }
        errors.extend(self.access.refresh().err().map(ReloadError::from));
        let certificate = self.tls.as_ref().and_then(|tls| tls.reload().err());
        errors.extend(certificate.map(ReloadError::from));
        let failed = if errors.is_empty() { 0 } else { self.reloads_failed() + 1 };
        self.reloads_failed.store(failed, Ordering::Relaxed);
        errors
    }

    /// How many reloads have failed since the last that did not.
    #[must_use]
    pub fn reloads_failed(&self) -> u64 {
        self.reloads_failed.load(Ordering::Relaxed)
    }
}
