//! `teem tracker` and `teem ls`.

use rustix::process::Signal;

use crate::common::{Home, one_line};

#[test]
fn ready_has_every_address_in_use() {
    let home = Home::new();
    let data = home.path().join("state");
    let data = data.to_str().expect("UTF-8");
    let mut tracker = home.start(&["tracker", "--listen", "127.0.0.1:0", "--data", data]);
    let ready = tracker.wait_for("ready");
    let listeners = ready["listeners"].as_array().expect("a list");
    let mut protocols: Vec<_> =
        listeners.iter().filter_map(|one| one["protocol"].as_str()).collect();
    protocols.sort_unstable();
    protocols.dedup();
    assert_eq!(protocols, ["admin", "http", "json", "udp"]);
    // One number for UDP and HTTP, and no zero left.
    let bittorrent =
        listeners.iter().filter(|one| one["protocol"] == "http" || one["protocol"] == "udp");
    let ports = bittorrent.filter_map(|one| one["addr"].as_str()?.rsplit_once(':'));
    let mut ports: Vec<_> = ports.map(|(_, port)| port).collect();
    ports.dedup();
    assert!(ports.len() == 1 && ports != ["0"], "{ready}");
}

#[test]
fn a_tracker_keeps_its_name_as_long_as_its_folder() {
    let home = Home::new();
    let name = || {
        let (tracker, _) = home.tracker();
        tracker.signal(Signal::TERM);
        assert_eq!(tracker.wait().0, Some(143));
        std::fs::read_to_string(home.path().join("tracker-state/tracker-name")).expect("a name")
    };
    assert_eq!(name(), name());
}

#[test]
fn a_port_that_is_taken_is_status_1_and_named() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let refused = home.run(&["tracker", "--listen", &address], 1);
    assert!(refused.stderr.contains(&address), "{}", refused.stderr);
    assert!(refused.stderr.contains("ss -"), "{}", refused.stderr);
}

#[test]
fn signals_have_their_status() {
    let home = Home::new();
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (tracker, _) = home.tracker();
        tracker.signal(signal);
        let (ended, stderr) = tracker.wait();
        assert_eq!(ended, Some(status), "{stderr}");
        assert!(stderr.contains("ending in good order"), "{stderr}");
    }
}

#[test]
fn an_empty_catalogue_lists_nothing() {
    let home = Home::new();
    let (_tracker, address) = home.tracker();
    let listed = home.run(&["ls", "--tracker", &address], 0);
    assert!(listed.stdout.is_empty());
    assert!(one_line(&listed.stderr).contains("teem share"), "{}", listed.stderr);
    assert!(home.run(&["ls", "--tracker", &address, "--json"], 0).stdout.is_empty());
}

#[test]
fn an_unknown_name_is_status_3_with_a_hint() {
    let home = Home::new();
    let (_tracker, address) = home.tracker();
    for name in ["nothing", "no/such name", "ü?#"] {
        let refused = home.run(&["get", name, "--tracker", &address], 3);
        assert!(refused.stderr.contains("teem ls"), "{}", refused.stderr);
    }
}

#[test]
fn up_without_a_folder_is_a_tracker() {
    let home = Home::new();
    let mut up = home.start(&["up", "--listen", "127.0.0.1:0"]);
    let ready = up.wait_for("ready");
    let address = ready["addresses"][0].as_str().expect("an address");
    home.run(&["ls", "--tracker", address], 0);
}
