# Shared by the scripts; sourced from the root of the checkout.

TARGET_DIR=${CARGO_TARGET_DIR:-target}
RQBIT_VERSION=9.1.0
AQUATIC_VERSION=0.9.0
PACKAGES="build-essential python3 python3-venv iproute2 nftables aria2 mktorrent qbittorrent-nox rtorrent curl"

. scripts/transmission.sh

say() {
    printf '\n== %s\n' "$*"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing_packages() {
    for package in $PACKAGES; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s ' "$package"
    done
}

# The other clients and the compiler for C, from Debian or Ubuntu. Elsewhere: only says what to install.
need_packages() {
    if ! command -v dpkg-query >/dev/null; then
        echo "not a Debian system: install by hand what corresponds to: $PACKAGES" >&2
        return
    fi
    missing=$(missing_packages)
    [ -z "$missing" ] && return
    as_root apt-get update -q
    # shellcheck disable=SC2086 # one word a package
    install_packages $missing
}

install_packages() {
    say "installing $*"
    # RUNLEVEL=1 keeps packages from starting their services.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends "$@"
}

# A Python with pytest, libtorrent and aria2 at the versions that the tests were written with.
need_python() {
    wanted=tests/e2e/requirements.txt
    cmp -s "$wanted" .venv/installed.txt && return
    say "making .venv with $(grep -c . "$wanted") packages"
    python3 -m venv --clear .venv
    .venv/bin/python -m pip install -q --disable-pip-version-check -r "$wanted"
    cp "$wanted" .venv/installed.txt
}

need_rust() {
    command -v cargo >/dev/null || { echo "no cargo: install Rust from https://rustup.rs" >&2; exit 1; }
}

# rqbit, for the benchmark and what runs beside CI: cargo builds it, which takes some minutes, once.
need_rqbit() {
    "$TARGET_DIR/peers/bin/rqbit" --version 2>/dev/null | grep -qF "$RQBIT_VERSION" && return
    say "cargo install rqbit $RQBIT_VERSION"
    cargo install rqbit --version "$RQBIT_VERSION" --locked --no-default-features --features rust-tls \
        --root "$TARGET_DIR/peers"
}

# The other trackers and what loads them, for the benchmark: Debian's opentracker and wrk, and aquatic,
# which cargo builds. Its metrics are left out: their crate of that time is refused by today's compiler.
need_trackers() {
    if command -v dpkg-query >/dev/null; then
        for package in opentracker wrk; do
            dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || install_packages "$package"
        done
    else
        echo "not a Debian system: without opentracker and wrk they are left out" >&2
    fi
    need_aquatic aquatic_udp bin --no-default-features --features mimalloc
    need_aquatic aquatic_udp uring/bin --no-default-features --features mimalloc,io-uring
    need_aquatic aquatic_http bin --no-default-features --features mimalloc
    need_aquatic aquatic_udp_load_test bin
}

# iperf3, for the benchmark of long links.
need_iperf() {
    command -v iperf3 >/dev/null && return
    command -v dpkg-query >/dev/null || { echo "not a Debian system: install iperf3 by hand" >&2; exit 1; }
    install_packages iperf3
}

# need_aquatic PROGRAM FOLDER FLAGS...: builds one of its programs, once.
need_aquatic() {
    aquatic=$1 folder=$2
    shift 2
    [ -x "$TARGET_DIR/peers/$folder/$aquatic" ] && return
    say "cargo install $aquatic $AQUATIC_VERSION"
    cargo install "$aquatic" --version "$AQUATIC_VERSION" --locked "$@" --root "$TARGET_DIR/peers/${folder%bin}"
}

need_tools() {
    need_rust
    need_packages
    need_transmission
    need_python
}

# What the dependencies may be. Known holes are asked for beside CI: their database is not on every network.
check_dependencies() {
    say "cargo deny"
    cargo deny --log-level error check bans licenses sources
}
