//! `teem share`, `teem get`, `teem up`: the main job, from command to content.

use rustix::process::Signal;

use crate::common::{Home, bytes};

/// Arguments that keep processes of one test apart.
fn peer(data: &str) -> [String; 4] {
    ["--listen", "127.0.0.1:0", "--data", data].map(str::to_owned)
}

fn with<'a>(args: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    args.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

#[test]
fn a_name_is_enough() {
    let home = Home::new();
    let content = bytes(3_000_000, 1);
    home.write("source/big.bin", &content);
    let (_tracker, address) = home.tracker();
    let (seeder, leecher) = (peer("seeder"), peer("leecher"));
    let mut share = home.start(&with(&["share", "source/big.bin", "--tracker", &address], &seeder));
    let ready = share.wait_for("ready");
    assert_eq!(ready["name"], "big.bin");
    assert!(ready["magnet"].as_str().is_some_and(|link| link.starts_with("magnet:?")));
    assert!(ready["listening"].as_array().is_some_and(|addrs| !addrs.is_empty()));

    let listed = home.run(&["ls", "--tracker", &address, "--json"], 0).objects();
    assert_eq!((&listed[0]["kind"], &listed[0]["name"]), (&"entry".into(), &"big.bin".into()));
    assert_eq!(listed[0]["seeders"], 1);

    let get = ["get", "big.bin", "-o", "out", "--tracker", &address, "--exit", "--json"];
    let got = home.run(&with(&get, &leecher), 0).objects();
    let done = got.last().expect("a last object");
    assert_eq!((&done["v"], &done["kind"]), (&1.into(), &"done".into()));
    assert_eq!(done["bytes"], 3_000_000);
    assert_eq!(done["info_hash_v1"], ready["info_hash_v1"]);
    assert_eq!(done["info_hash_v2"], ready["info_hash_v2"]);
    let path = done["path"].as_str().expect("a path");
    assert_eq!(std::fs::read(path).expect("the file"), content);

    // Once more, for people: what is there is adopted.
    let get = ["get", "big.bin", "-o", "out", "--tracker", &address, "--exit"];
    let again = home.run(&with(&get, &leecher), 0);
    assert_eq!(again.stdout.lines().count(), 1, "{}", again.stdout);
    assert!(again.stdout.contains("SHA-256 ok"), "{}", again.stdout);

    // A name that is nearly right is offered.
    let refused = home.run(&["get", "bgi.bin", "--tracker", &address, "--data", "other"], 3);
    assert!(refused.stderr.contains("did you mean \"big.bin\""), "{}", refused.stderr);

    share.signal(Signal::INT);
    assert_eq!(share.wait().0, Some(130));
}

#[test]
fn a_name_with_other_content_is_refused() {
    let home = Home::new();
    home.write("one/file", b"some content");
    home.write("two/file", b"other content");
    let (_tracker, address) = home.tracker();
    let (first, second) = (peer("first"), peer("second"));
    let mut share = home.start(&with(&["share", "one/file", "--tracker", &address], &first));
    share.wait_for("ready");
    let refused = home.run(&with(&["share", "two/file", "--tracker", &address], &second), 5);
    assert!(refused.stderr.contains("--name"), "{}", refused.stderr);
}

#[test]
fn up_prints_the_line_that_another_machine_must_type() {
    let home = Home::new();
    home.write("a folder/one", b"one");
    home.write("a folder/sub/two", &bytes(100_000, 2));
    let up_data = ["--data", "up", "--listen", "127.0.0.1:0"];
    let mut up = home.start(&[&["up", "a folder"][..], &up_data].concat());
    let ready = up.wait_for("ready");
    assert_eq!(ready["name"], "a folder");
    let address = ready["addresses"][0].as_str().expect("an address");
    let leecher = peer("leecher");
    let get = ["get", "a folder", "-o", "out", "--tracker", address, "-e"];
    home.run(&with(&get, &leecher), 0);
    let fetched = home.path().join("out/a folder/sub/two");
    assert_eq!(std::fs::read(fetched).expect("the file"), bytes(100_000, 2));
}

#[test]
fn a_get_ends_after_the_time_to_seed() {
    let home = Home::new();
    home.write("file", &bytes(50_000, 3));
    let (_tracker, address) = home.tracker();
    let (seeder, leecher) = (peer("seeder"), peer("leecher"));
    let mut share = home.start(&with(&["share", "file", "--tracker", &address], &seeder));
    share.wait_for("ready");
    let get = ["get", "file", "-o", "out", "--tracker", &address, "--seed-for", "1s", "--json"];
    let got = home.run(&with(&get, &leecher), 0).objects();
    assert_eq!(got.last().expect("a last object")["kind"], "done");
}

#[test]
fn nobody_seeding_is_status_6_after_the_time_out() {
    let home = Home::new();
    home.write("file", &bytes(50_000, 4));
    let (_tracker, address) = home.tracker();
    let (seeder, leecher) = (peer("seeder"), peer("leecher"));
    let mut share = home.start(&with(&["share", "file", "--tracker", &address], &seeder));
    share.wait_for("ready");
    share.signal(Signal::TERM);
    assert_eq!(share.wait().0, Some(143));
    let get = ["get", "file", "-o", "out", "--tracker", &address, "-e", "--timeout", "2"];
    let ended = home.run(&with(&get, &leecher), 6);
    assert!(ended.stderr.contains("no source of file for 2.0 s"), "{}", ended.stderr);
}
