#!/bin/sh
# Install the named packages that are missing. Does nothing, and needs no root, when all are there.
set -eu

fail() { echo "deps: $*" >&2; exit 1; }

command -v cargo >/dev/null || fail "no cargo: install Rust 1.85 or later (apt-get install cargo, or rustup)"
missing=
for package in "$@"; do
    case $package in
        # A server of one's own needs no package of it.
        kamailio) [ "${KAMAILIO:-kamailio}" = kamailio ] || continue ;;
    esac
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

command -v apt-get >/dev/null || fail "not a Debian system; install by hand:$missing"
[ "$(id -u)" = 0 ] || fail "run as root to install:$missing"
echo "deps: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
apt-get -q install -y --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get -q update >/dev/null || fail "apt-get update fails"
    apt-get -q install -y --no-install-recommends $missing || fail "cannot install:$missing"
}
