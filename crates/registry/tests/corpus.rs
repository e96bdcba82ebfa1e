//! Replays the committed corpus of the fuzz target, so that what fuzzing once found stays found.

use std::path::Path;

#[path = "../../../fuzz/src/registry_ops.rs"]
#[expect(unreachable_pub, reason = "the fuzz package has the same file as a public module")]
mod registry_ops;

#[test]
fn corpus_is_replayed() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/registry_ops");
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).expect("the target has a corpus") {
        let path = entry.unwrap().path();
        #[expect(clippy::disallowed_methods, reason = "the corpus is in files")]
        let input = std::fs::read(&path).unwrap();
        eprintln!("{}", path.display());
        registry_ops::run(&input);
        count += 1;
    }
    assert!(count > 0, "the corpus is empty");
}
