//! The torrent that an earlier run made: content that has not changed is not hashed again.

use std::path::Path;

use proto::FileIndex;
use proto::metainfo::Metainfo;

use super::create::{CreateError, Created, Plan, Recipe};
use crate::api::Fresh;
use crate::record::{Progress, Records, SavedContent, SavedSource};

/// Looks for a torrent of what is at `path` that was shared before. It serves again when the recipe
/// gives the same layout and every file is the very one that the record means. Blocks.
pub(crate) fn recall(
    records: &Records,
    path: &Path,
    recipe: &Recipe,
) -> Result<Option<Created>, CreateError> {
    let shared = SavedContent::Share(path.to_owned());
    let Ok(known) = records.sources_of(&shared) else { return Ok(None) };
    if known.is_empty() {
        return Ok(None);
    }
    let plan = Plan::of(path, recipe)?;
    for source in known {
        let SavedSource::Metainfo(bytes) = source else { continue };
        let Ok(metainfo) = Metainfo::decode(&bytes) else { continue };
        let info = &metainfo.info;
        if !plan.layout.is_of(info) || info.is_private() != recipe.details.private {
            continue;
        }
        let (key, pieces) = (metainfo.info.hashes().primary(), metainfo.info.geometry());
        let progress = records.progress(key, pieces.piece_count());
        if progress.is_ok_and(|known| known.is_some_and(|known| is_unchanged(&plan, &known))) {
            let Plan { identities, skipped, .. } = plan;
            return Ok(Some(Created { metainfo, fresh: Fresh(identities), skipped }));
        }
    }
    Ok(None)
}

/// Everything was there, and every file with content is the one that was recorded.
fn is_unchanged(plan: &Plan, known: &Progress) -> bool {
    let files = (0..).map(FileIndex).zip(plan.layout.files()).zip(&plan.identities);
    let same = |((index, file), identity): ((FileIndex, &proto::metainfo::File), &Option<_>)| {
        file.len == 0
            || identity.is_some_and(|identity: crate::disk::FileIdentity| {
                let recorded = known.files.get(&index);
                recorded.is_some_and(|recorded| identity.recorded_as(&recorded.identity, true))
            })
    };
    known.have.is_full() && files.into_iter().all(same)
}
