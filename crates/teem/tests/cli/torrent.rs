//! `teem torrent`: make, show, check, link.

use crate::common::{Home, bytes};

fn tree(home: &Home) {
    home.write("tree/a/one.bin", &bytes(300_000, 1));
    home.write("tree/two.bin", &bytes(40_000, 2));
    home.write("tree/empty", b"");
    home.write("tree/ünï/three", b"three");
}

#[test]
fn every_format_can_be_made_shown_and_verified() {
    let home = Home::new();
    tree(&home);
    for (format, v1, v2) in [("v1", true, false), ("v2", false, true), ("hybrid", true, true)] {
        let file = format!("{format}.torrent");
        let create = ["torrent", "create", "tree", "-o", &file, "--format", format, "--json"];
        let created = &home.run(&create, 0).objects()[0];
        assert_eq!(created["kind"], "created");
        let shown = &home.run(&["torrent", "show", &file, "--json"], 0).objects()[0];
        assert_eq!((&shown["v"], &shown["kind"]), (&1.into(), &"torrent".into()));
        assert_eq!(shown["name"], "tree");
        assert_eq!(shown["format"], format);
        assert_eq!(shown["bytes"], 340_005);
        assert_eq!(
            (shown["info_hash_v1"].is_string(), shown["info_hash_v2"].is_string()),
            (v1, v2)
        );
        for key in ["info_hash_v1", "info_hash_v2", "piece_length", "magnet"] {
            assert_eq!(shown[key], created[key], "{key}");
        }
        let files = shown["files"].as_array().expect("a list");
        let paths: Vec<_> = files.iter().filter_map(|file| file["path"].as_str()).collect();
        for path in ["a/one.bin", "empty", "two.bin", "ünï/three"] {
            assert!(paths.contains(&path), "{path} is missing from {paths:?}");
        }
        let verified = home.run(&["torrent", "verify", &file, "tree"], 0);
        assert!(verified.stdout.contains("verified"), "{}", verified.stdout);
    }
}

#[test]
fn changed_and_missing_files_are_status_4_and_named() {
    let home = Home::new();
    tree(&home);
    home.run(&["torrent", "create", "tree", "--piece-length", "16K"], 0);
    let mut changed = bytes(300_000, 1);
    changed[200_000] ^= 1;
    home.write("tree/a/one.bin", &changed);
    std::fs::remove_file(home.path().join("tree/empty")).expect("it was there");
    let said = home.run(&["torrent", "verify", "tree.torrent", "tree", "--json"], 4);
    let objects = said.objects();
    let different = objects.iter().filter(|object| object["kind"] == "different");
    let mut paths: Vec<_> = different.filter_map(|object| object["path"].as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["a/one.bin", "empty"]);
    assert_eq!(objects.last().expect("a last object")["ok"], false);
    assert!(said.stderr.contains("2 of 4 files"), "{}", said.stderr);
}

#[test]
fn the_magnet_link_carries_hashes_name_and_trackers() {
    let home = Home::new();
    home.write("one file.bin", &bytes(20_000, 3));
    let udp = "udp://tracker.invalid:1337/announce";
    home.run(&["torrent", "create", "one file.bin", "--tracker", "nas:7000", "--tracker", udp], 0);
    let shown = &home.run(&["torrent", "show", "one file.bin.torrent", "--json"], 0).objects()[0];
    let trackers =
        serde_json::json!([["http://nas:7000/announce"], ["udp://nas:7000/announce"], [udp],]);
    assert_eq!(shown["trackers"], trackers);
    let magnet = home.run(&["torrent", "magnet", "one file.bin.torrent"], 0).stdout;
    assert_eq!(magnet.trim_end(), shown["magnet"].as_str().expect("a link"));
    let v1 = shown["info_hash_v1"].as_str().expect("a hash");
    let v2 = shown["info_hash_v2"].as_str().expect("a hash");
    for part in [format!("urn:btih:{v1}"), format!("urn:btmh:1220{v2}"), "dn=one%20file.bin".into()]
    {
        assert!(magnet.contains(&part), "{part} is missing from {magnet}");
    }
    assert_eq!(magnet.matches("tr=").count(), 3);
}

#[test]
fn the_name_and_the_piece_length_can_be_chosen() {
    let home = Home::new();
    home.write("content", &bytes(100_000, 4));
    home.run(
        &["torrent", "create", "content", "--name", "other", "--piece-length", "32K", "-o", "t"],
        0,
    );
    let shown = &home.run(&["torrent", "show", "t", "--json"], 0).objects()[0];
    assert_eq!((&shown["name"], &shown["piece_length"]), (&"other".into(), &32_768.into()));
    home.run(&["torrent", "create", "content", "--name", "../up", "-o", "u"], 1);
    home.run(&["torrent", "create", "absent"], 1);
}

#[test]
fn people_get_words_and_no_json() {
    let home = Home::new();
    home.write("content", &bytes(100_000, 5));
    let created = home.run(&["torrent", "create", "content"], 0).stdout;
    assert!(created.starts_with("content.torrent  97.7 KiB"), "{created}");
    let shown = home.run(&["torrent", "show", "content.torrent"], 0).stdout;
    assert!(shown.contains("hybrid") && shown.contains("magnet:?"), "{shown}");
    let quiet = home.run(&["torrent", "create", "content", "--quiet"], 0);
    assert!(quiet.stderr.is_empty(), "{}", quiet.stderr);
}
