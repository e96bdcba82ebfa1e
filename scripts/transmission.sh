# Transmission 4, for the tests; sourced by lib.sh.
#
# Version 3 refuses hybrid torrents. Where the system has no version 4, Debian 13's packages and all their libraries,
# the C library too, are unpacked into .peers/transmission and run from there. Nothing of it is installed.

TRANSMISSION_SUITE=trixie
TRANSMISSION_TREE=.peers/transmission
TRANSMISSION_PACKAGES="transmission-daemon transmission-cli"
TRANSMISSION_PROGRAMS="transmission-daemon transmission-remote"
DEBIAN_KEYS=/usr/share/keyrings/debian-archive-keyring.gpg

# Does nothing when a Transmission that is new enough is there already.
need_transmission() {
    is_version_4 "$(transmission-daemon --version 2>&1 | awk '{ print $2; exit }')" && return
    [ -x $TRANSMISSION_TREE/bin/transmission-daemon ] && return
    if ! command -v apt-get >/dev/null; then
        echo "not a Debian system: install Transmission 4 by hand, its daemon and its remote" >&2
    elif is_version_4 "$(apt-cache policy transmission-daemon | awk '$1 == "Candidate:" { print $2 }')"; then
        # shellcheck disable=SC2086 # one word a package
        install_packages $TRANSMISSION_PACKAGES
    else
        say "unpacking Transmission of Debian $TRANSMISSION_SUITE into $TRANSMISSION_TREE"
        unpack_transmission
    fi
}

is_version_4() {
    case "$1" in [4-9].* | [1-9][0-9].*) ;; *) return 1 ;; esac
}

unpack_transmission() {
    mirror=$(debian_mirror)
    if [ -z "$mirror" ]; then
        as_root apt-get update -q
        mirror=$(debian_mirror)
    fi
    if [ -z "$mirror" ] || [ ! -r $DEBIAN_KEYS ]; then
        echo "no Debian among the sources of apt, or no $DEBIAN_KEYS: install Transmission 4 by hand" >&2
        return 1
    fi
    part=$PWD/$TRANSMISSION_TREE.part
    rm -rf "$part"
    # shellcheck disable=SC2086 # one word a package
    fetch_packages "$mirror" "$part/apt" $TRANSMISSION_PACKAGES
    for package in "$part"/apt/cache/archives/*.deb; do
        dpkg -x "$package" "$part/all"
    done
    mkdir "$part/bin" "$part/programs"
    mv "$part/all/usr/lib" "$part/lib"
    for program in $TRANSMISSION_PROGRAMS; do
        mv "$part/all/usr/bin/$program" "$part/programs"
        write_wrapper "$part" "$program"
    done
    rm -rf "$part/all" "$part/apt"
    mv "$part" "$TRANSMISSION_TREE"
}

# The mirror from which this system has its own packages.
debian_mirror() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(CODENAME) $(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
        awk '$1 !~ /-/ { print $2; exit }'
}

# fetch_packages MIRROR FOLDER PACKAGE...: downloads packages and all that they depend on, with an apt whose lists,
# cache and record of what is installed (nothing) are in FOLDER. The system's own settings for apt hold.
fetch_packages() {
    mirror=$1 at=$2
    shift 2
    mkdir -p "$at/none" "$at/lists/partial" "$at/cache/archives/partial"
    : >"$at/status"
    echo "deb [signed-by=$DEBIAN_KEYS] $mirror $TRANSMISSION_SUITE main" >"$at/sources.list"
    private_apt update
    private_apt install -y --no-install-recommends --download-only "$@"
}

private_apt() {
    apt-get -qq \
        -o Dir::Etc::SourceList="$at/sources.list" -o Dir::Etc::SourceParts="$at/none" \
        -o Dir::Etc::Preferences="$at/none.conf" -o Dir::Etc::PreferencesParts="$at/none" \
        -o Dir::State="$at" -o Dir::State::Lists="$at/lists" -o Dir::State::Status="$at/status" \
        -o Dir::Cache="$at/cache" -o Dir::Cache::Archives="$at/cache/archives" \
        -o Dir::Log="$at/none" -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=true \
        -o Acquire::Languages=none -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        "$@"
}

# write_wrapper TREE PROGRAM: a command that runs PROGRAM with the libraries of its own tree, wherever that is.
write_wrapper() {
    linker=$(cd "$1" && find lib -type f -name 'ld-linux*.so.*' | head -n 1)
    cat >"$1/bin/$2" <<END
#!/bin/sh
tree=\$(cd "\$(dirname "\$0")/.." && pwd)
exec "\$tree/$linker" --library-path "\$tree/$(dirname "$linker")" "\$tree/programs/$2" "\$@"
END
    chmod +x "$1/bin/$2"
}
