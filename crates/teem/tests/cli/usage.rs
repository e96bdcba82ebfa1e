//! The program as scripts see it: arguments, exit statuses, what goes to stdout and what to stderr.

use crate::common::{self, Home, one_line, teem};

#[test]
fn without_arguments_it_shows_short_help_with_examples() {
    let home = Home::new();
    let shown = home.run(&[], 2);
    assert!(shown.stdout.is_empty());
    assert!(shown.stderr.contains("Examples:"), "{}", shown.stderr);
    assert!(shown.stderr.lines().count() < 40, "{}", shown.stderr);
}

#[test]
fn help_goes_to_stdout_and_documents_the_exit_statuses() {
    let home = Home::new();
    let shown = home.run(&["--help"], 0);
    for text in ["Exit status:", "130 interrupted", "teem up ./folder"] {
        assert!(shown.stdout.contains(text), "{text} is missing:\n{}", shown.stdout);
    }
    for command in ["up", "tracker", "share", "get", "ls", "torrent"] {
        assert!(home.run(&[command, "--help"], 0).stdout.contains("Usage:"));
    }
}

#[test]
fn wrong_use_is_status_2() {
    let home = Home::new();
    let cases: &[&[&str]] = &[
        &["--no-such-flag"],
        &["no-such-command"],
        &["get"],
        &["get", "x", "--timeout", "soon"],
        &["get", "x", "--tracker", "ftp://nas"],
        &["get", "magnet:?xt=urn:btih:0123"],
        &["ls", "--tracker", "udp://127.0.0.1:1/announce"],
        &["share", ".", "--piece-length", "48K"],
        &["share", ".", "--format", "v3"],
        &["tracker", "--listen", "nowhere"],
        &["ls", "--quiet", "--verbose"],
    ];
    for args in cases {
        assert!(!home.run(args, 2).stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn what_cannot_be_read_is_status_1_and_one_line() {
    let home = Home::new();
    home.write("rubbish.torrent", b"d4:infoi1ee");
    home.write("empty.torrent", b"");
    for file in ["rubbish.torrent", "empty.torrent", "absent.torrent"] {
        let refused = home.run(&["torrent", "show", file], 1);
        assert!(refused.stdout.is_empty(), "{}", refused.stdout);
        assert!(one_line(&refused.stderr).contains(file), "{}", refused.stderr);
    }
    home.run(&["share", "absent"], 1);
    home.run(&["up", "absent"], 1);
}

#[test]
fn a_folder_that_cannot_be_written_is_status_7_with_a_hint() {
    let home = Home::new();
    home.write("file", b"in the way");
    let refused = home.run(&["get", "name", "--output", "file/inside"], 7);
    assert!(refused.stderr.contains("hint:"), "{}", refused.stderr);
    home.write("content", b"some bytes");
    home.run(&["torrent", "create", "content", "-o", "file/inside.torrent"], 7);
    home.run(&["ls", "--data", "file/state"], 7);
}

#[test]
fn no_tracker_is_status_6_with_a_hint_after_some_tries() {
    let home = Home::new();
    let begun = std::time::Instant::now();
    // Bound and let go: nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a free port")
        .port();
    let tracker = format!("127.0.0.1:{port}");
    let away = home.run(&["get", "name", "--tracker", &tracker], 6);
    assert!(away.stderr.contains(&tracker), "{}", away.stderr);
    assert!(away.stderr.contains("trying again"), "{}", away.stderr);
    assert!(away.stderr.contains("hint:"), "{}", away.stderr);
    assert!(begun.elapsed().as_secs() >= 3, "it did not try again");
}

#[test]
fn a_stranger_on_the_trackers_port_is_named_as_such() {
    let home = Home::new();
    let stranger = common::Stranger::start(b"SSH-2.0-OpenSSH_9.9\r\n");
    let refused = home.run(&["ls", "--tracker", &stranger.addr()], 1);
    assert!(refused.stderr.contains("is not a Teem tracker"), "{}", refused.stderr);
}

#[test]
fn flags_win_over_the_environment() {
    let home = Home::new();
    home.write("content", b"some bytes");
    let format = |args: &[&str]| {
        let mut command = teem(home.path());
        let made = command.env("TEEM_FORMAT", "v1").env("TEEM_JSON", "1").args(args).output();
        let made = made.expect("teem runs");
        serde_json::from_slice::<serde_json::Value>(&made.stdout).expect("one object")
    };
    let by_environment = format(&["torrent", "create", "content"]);
    assert!(by_environment["info_hash_v1"].is_string() && by_environment["info_hash_v2"].is_null());
    let by_flag = format(&["torrent", "create", "content", "--format", "v2"]);
    assert!(by_flag["info_hash_v1"].is_null() && by_flag["info_hash_v2"].is_string());
}

#[test]
fn colours_are_off_without_a_terminal_and_on_when_asked_for() {
    let home = Home::new();
    let plain = home.run(&["torrent", "show", "absent"], 1).stderr;
    assert!(!plain.contains('\x1b'), "{plain:?}");
    let colored = home.run(&["torrent", "show", "absent", "--color", "always"], 1).stderr;
    assert!(colored.contains('\x1b'), "{colored:?}");
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let home = Home::new();
    home.write("content", b"some bytes");
    home.run(&["torrent", "create", "content"], 0);
    let full = std::fs::File::options().write(true).open("/dev/full").expect("a full device");
    let mut command = teem(home.path());
    let ended = command.args(["torrent", "magnet", "content.torrent"]).stdout(full).status();
    assert_eq!(ended.expect("teem runs").code(), Some(1));
}
