//! What was shared before is known by the next run, as long as nothing has changed.

use std::path::Path;

use node::Node;
use node::hashing::create::Recipe;
use proto::metainfo::{Details, Format};
use tempfile::TempDir;

use crate::content::{folder, noise};
use crate::two_nodes::{share, start};

fn recipe(format: Format, piece_len: u32) -> Recipe {
    let details = Details::default();
    Recipe { name: "tree".to_owned(), format, piece_len: Some(piece_len), details }
}

async fn is_known(node: &Node, path: &Path, recipe: Recipe) -> bool {
    node.recall(path.to_owned(), recipe).await.is_some()
}

#[tokio::test]
async fn a_share_is_known_until_something_changes() {
    let here = TempDir::new().unwrap();
    let files = [("big", noise(300_000, 1)), ("sub/small", noise(10, 2)), ("sub/none", vec![])];
    let metainfo = folder(here.path(), "tree", &files, 64 * 1024, Format::Hybrid);
    let (state, path) = (here.path().join("state"), here.path().join("tree"));
    let first = start(&state).await;
    let ours = recipe(Format::Hybrid, 64 * 1024);
    assert!(!is_known(&first, &path, ours.clone()).await, "never shared");
    share(&first, &metainfo, &path).await;
    first.shutdown().await;

    let second = start(&state).await;
    let known = second.recall(path.clone(), ours.clone()).await.unwrap();
    assert_eq!(known.metainfo.info, metainfo.info);
    assert_eq!(known.metainfo.layers, metainfo.layers);
    assert!(!is_known(&second, &path, recipe(Format::V1, 64 * 1024)).await, "another format");
    assert!(!is_known(&second, &path, recipe(Format::Hybrid, 128 * 1024)).await, "longer pieces");
    let renamed = Recipe { name: "other".to_owned(), ..ours.clone() };
    assert!(!is_known(&second, &path, renamed).await, "another name");

    std::fs::write(path.join("new"), "").unwrap();
    assert!(!is_known(&second, &path, ours.clone()).await, "one file more");
    std::fs::remove_file(path.join("new")).unwrap();
    assert!(is_known(&second, &path, ours.clone()).await);
    std::fs::write(path.join("sub/small"), noise(10, 2)).unwrap();
    assert!(!is_known(&second, &path, ours).await, "written again, if with the same bytes");
    second.shutdown().await;
}
