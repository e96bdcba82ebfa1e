//! Who asks: the secret in a request's `Authorization: Bearer` header, and what it allows.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tracker::{Caller, Denied, Passkey, Scope, Secret, Shared};

use super::dto::RefusalCode;
use super::refusal::Refused;

/// Whoever may read.
#[derive(Debug)]
pub(super) struct Reader {
    /// Who that is.
    pub(super) caller: Caller,
    /// What their announces carry to a private tracker.
    pub(super) passkey: Option<Passkey>,
}

/// Whoever may publish.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Who that is.
    pub(super) caller: Caller,
    /// What their announces carry to a private tracker.
    pub(super) passkey: Option<Passkey>,
}

/// Whoever may administer. For routes of the operator's port only.
#[derive(Debug)]
pub(super) struct Admin;

impl FromRequestParts<Arc<Shared>> for Admin {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refused> {
        let secret = match password_in(&parts.headers) {
            Some(secret) => Some(secret),
            None => secret_in(&parts.headers)?,
        };
        shared.access.admin(secret.as_ref())?;
        Ok(Self)
    }
}

impl FromRequestParts<Arc<Shared>> for Reader {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refused> {
        caller(parts, shared, Scope::Read).map(|(caller, passkey)| Self { caller, passkey })
    }
}

impl FromRequestParts<Arc<Shared>> for Publisher {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Refused> {
        caller(parts, shared, Scope::Publish).map(|(caller, passkey)| Self { caller, passkey })
    }
}

fn caller(
    parts: &Parts,
    shared: &Shared,
    needed: Scope,
) -> Result<(Caller, Option<Passkey>), Refused> {
    let secret = secret_in(&parts.headers)?;
    let caller = shared.access.caller(secret.as_ref())?.with(needed)?;
    let passkey = secret.filter(|_| shared.access.is_private()).map(|secret| secret.passkey());
    Ok((caller, passkey))
}

fn secret_in(headers: &HeaderMap) -> Result<Option<Secret>, Denied> {
    let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
    let text = header.to_str().map_err(|_| Denied::BadToken)?;
    let (scheme, secret) = text.split_once(' ').ok_or(Denied::BadToken)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Denied::BadToken);
    }
    Secret::parse(secret.trim()).map(Some).ok_or(Denied::BadToken)
}

/// The token as a password, whatever the user is called: browsers know no other way (RFC 7617). Pages
/// of other origins cannot use what a browser remembers: [`crate::own_hosts`] turns them away.
fn password_in(headers: &HeaderMap) -> Option<Secret> {
    let (scheme, coded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let coded = scheme.eq_ignore_ascii_case("basic").then_some(coded.trim())?;
    let pair = String::from_utf8(BASE64_STANDARD.decode(coded).ok()?).ok()?;
    let (_, password) = pair.split_once(':')?;
    Secret::parse(password)
}

impl From<Denied> for Refused {
    fn from(denied: Denied) -> Self {
        let (status, code) = match denied {
            Denied::NoToken | Denied::BadToken => {
                (StatusCode::UNAUTHORIZED, RefusalCode::Unauthorised)
            }
            Denied::Scope => (StatusCode::FORBIDDEN, RefusalCode::Forbidden),
        };
        Self::new(status, code, denied.to_string())
    }
}
