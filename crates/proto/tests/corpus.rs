//! Replays the committed corpora of the fuzz targets, so that what fuzzing once found stays found.

use std::path::Path;

#[path = "../../../fuzz/src/targets/mod.rs"]
#[expect(unreachable_pub, reason = "the fuzz package has the same file as a public module")]
mod targets;

#[test]
fn every_corpus_is_replayed() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for (name, run) in targets::ALL {
        let folder = corpora.join(name);
        let mut count = 0;
        for entry in std::fs::read_dir(&folder).expect("each target has a corpus") {
            let path = entry.unwrap().path();
            #[expect(clippy::disallowed_methods, reason = "the corpus is in files")]
            let input = std::fs::read(&path).unwrap();
            eprintln!("{}", path.display());
            run(&input);
            count += 1;
        }
        assert!(count > 0, "{name} has an empty corpus");
    }
}

#[test]
fn well_formed_seeds_are_accepted() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/metainfo");
    let good = ["v1-file", "v1-folder", "v1-link", "v2-file", "v2-folder"];
    let hybrid = ["hybrid-file", "hybrid-folder", "hybrid-old", "hybrid-small"];
    for name in good.iter().chain(&hybrid) {
        #[expect(clippy::disallowed_methods, reason = "the corpus is in files")]
        let seed = std::fs::read(seeds.join(name)).unwrap();
        let metainfo = proto::metainfo::Metainfo::decode(&seed);
        let metainfo = metainfo.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(metainfo.info.hashes().is_hybrid(), hybrid.contains(name), "{name}");
        assert_eq!(metainfo.encode(), seed, "{name} is written as it came");
    }
}
