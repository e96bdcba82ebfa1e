//! Pages of what the operator's lists let in.

use super::query::Query;
use super::store::Store;
use super::{CatalogueError, Hit};
use crate::lists::Lists;

/// Up to `limit` hits behind a name, and whether there are more. However much is left out, a page is full
/// when there are more.
pub(super) fn search(
    store: &Store,
    lists: &Lists,
    query: &Query,
    (mut after, limit): (String, usize),
) -> Result<(Vec<Hit>, bool), CatalogueError> {
    if !lists.are_any() {
        return store.search(query, &after, limit);
    }
    let mut page = Vec::new();
    loop {
        let (hits, more) = store.search(query, &after, limit.max(STEP))?;
        let last = hits.last().map(|hit| hit.entry.name.clone());
        page.extend(hits.into_iter().filter(|hit| lists.admits(&hit.entry.hashes)));
        match last {
            Some(last) if more && page.len() <= limit => after = last,
            _ => {
                let more = more || page.len() > limit;
                page.truncate(limit);
                return Ok((page, more));
            }
        }
    }
}

/// Hits that are looked at in one step: when most are left out, a short page takes few steps.
const STEP: usize = 256;
