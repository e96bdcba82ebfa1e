"""libtorrent as the benchmark's seeder or leecher: a process of its own, over TCP only or uTP only, tuned.

    lt_peer.py seed  ADDRESS TORRENT FOLDER [--utp|--mse]
    lt_peer.py leech ADDRESS TORRENT|MAGNET FOLDER SEEDER [--utp|--mse]

It prints `ready` when it is checked and listens, `start` when it begins to fetch, `first` with the
first bytes, `verified` when all pieces are, `written` when all is in the files too.
"""

import sys
import time

import libtorrent as lt

PORT = 6881

# What made it fastest here among the settings tried; more of anything made it slower or no faster.
SETTINGS = {
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_outgoing_utp": False,
    "enable_incoming_utp": False,
    "allow_multiple_connections_per_ip": True,
    "webtorrent_stun_server": "",
    "dht_bootstrap_nodes": "",
    "out_enc_policy": 2,
    "in_enc_policy": 2,
    "aio_threads": 4,
    "hashing_threads": 2,
    "max_queued_disk_bytes": 64 << 20,
    "send_buffer_watermark": 4 << 20,
    "send_buffer_low_watermark": 1 << 20,
    "send_buffer_watermark_factor": 150,
    "max_out_request_queue": 1500,
    "max_allowed_in_request_queue": 4000,
    "request_queue_time": 3,
    "unchoke_slots_limit": -1,
    "connection_speed": 500,
    # It dials at ticks, which come every 500 ms unless told.
    "tick_interval": 100,
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification,
}


UTP = {"enable_outgoing_utp": True, "enable_incoming_utp": True, "enable_outgoing_tcp": False, "enable_incoming_tcp": False}
# Encryption forced, and all of the stream is.
MSE = {"out_enc_policy": 0, "in_enc_policy": 0, "allowed_enc_level": 2, "prefer_rc4": True}


def session(address):
    """A session that listens on `address` and dials from it."""
    own = {"listen_interfaces": f"{address}:{PORT}", "outgoing_interfaces": address}
    return lt.session(dict(SETTINGS, **own))


def add(ses, torrent, folder):
    """Adds a torrent, running."""
    params = lt.parse_magnet_uri(torrent) if torrent.startswith("magnet:") else lt.load_torrent_file(torrent)
    params.save_path = folder
    params.trackers = []
    params.flags &= ~lt.torrent_flags.auto_managed
    params.flags &= ~lt.torrent_flags.paused
    return ses.add_torrent(params)


def say(word):
    """Prints at once."""
    print(word, flush=True)


def seed(address, torrent, folder):
    """Checks, then serves for ever."""
    ses = session(address)
    handle = add(ses, torrent, folder)
    while not handle.status().is_seeding:
        time.sleep(0.01)
    say("ready")
    while True:
        time.sleep(3600)


def leech(address, torrent, folder, seeder):
    """Fetches from one seeder."""
    ses = session(address)
    say("start")
    handle = add(ses, torrent, folder)
    handle.connect_peer((seeder, PORT))
    first = False
    finished = False
    flushed = False
    while not flushed:
        ses.wait_for_alert(2 if not first else 100)
        for alert in ses.pop_alerts():
            if isinstance(alert, lt.torrent_finished_alert):
                finished = True
                say("verified")
                handle.flush_cache()
            elif isinstance(alert, lt.cache_flushed_alert) and finished:
                flushed = True
        if not first and handle.status(flags=0).total_payload_download > 0:
            first = True
            say("first")
    say("written")
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    if sys.argv[-1] in ("--utp", "--mse"):
        SETTINGS |= {"--utp": UTP, "--mse": MSE}[sys.argv.pop()]
    {"seed": seed, "leech": leech}[sys.argv[1]](*sys.argv[2:])
