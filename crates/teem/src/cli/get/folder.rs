//! A folder of the catalogue: every name below it, into folders of the same names.

use std::path::{Path, PathBuf};

use tracker::Name;

use crate::cli::Context;
use crate::exit::{Failure, Status};
use crate::locate::{self, Answer, Trackers};

/// Every name below `folder`, which ends with a slash, in order.
pub(super) async fn names(
    folder: &str,
    trackers: &Trackers,
    context: &Context,
) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let ask = async |client: crate::client::Client| {
            client.page(&format!("{folder}*"), after.as_deref()).await.map(Some)
        };
        let answer = locate::ask_each(&trackers.catalogues, trackers.asker(), &context.output, ask);
        let Answer::Found(page, _) = context.interrupt.or(answer).await? else { break };
        let entries = page.entries.into_iter().map(|entry| entry.name);
        // Case does not matter to a search; and a tracker's word leads into no other folder.
        names.extend(entries.filter(|name| name.starts_with(folder) && Name::new(name).is_ok()));
        if names.len() > NAMES_MAX {
            let message = format!("{folder} has more than {NAMES_MAX} names");
            return Err(Failure::new(Status::Failed, message)
                .hint("fetch its folders one by one")
                .into());
        }
        match page.next {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => break,
        }
    }
    if names.is_empty() {
        let message = format!("the tracker knows no name below {folder:?}");
        return Err(Failure::new(Status::NotFound, message)
            .hint("`teem ls` lists the names that it has")
            .into());
    }
    Ok(names)
}

/// The folder below `output` that a name's content goes into; made if it is not there. A name comes from
/// a tracker, so it leads through no link.
pub(super) fn place(output: &Path, name: &str) -> Result<PathBuf, Failure> {
    let mut folder = output.to_owned();
    let Some((parents, _)) = name.rsplit_once('/') else { return Ok(folder) };
    for part in parents.split('/') {
        folder.push(part);
        let refused = |error: std::io::Error| {
            Failure::new(Status::Disk, format!("cannot make {}: {error}", folder.display()))
                .hint("choose another folder with --output DIR")
        };
        match std::fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                if !std::fs::symlink_metadata(&folder).map_err(refused)?.is_dir() {
                    return Err(refused(std::io::ErrorKind::NotADirectory.into()));
                }
            }
            Err(error) => return Err(refused(error)),
        }
    }
    Ok(folder)
}

/// Torrents of one command: each needs memory and peers.
const NAMES_MAX: usize = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_into_folders_of_its_parts_and_through_no_link() {
        let (output, elsewhere) =
            (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
        let placed = |name| place(output.path(), name).ok();
        assert_eq!(placed("a"), Some(output.path().to_owned()));
        assert_eq!(placed("m/n/a"), Some(output.path().join("m/n")));
        assert_eq!(placed("m/b"), Some(output.path().join("m")));
        std::os::unix::fs::symlink(elsewhere.path(), output.path().join("link")).expect("a link");
        assert_eq!(placed("link/a"), None);
        std::fs::write(output.path().join("file"), "").expect("a file");
        assert_eq!(placed("file/a"), None);
    }
}
