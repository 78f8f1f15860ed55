#!/bin/sh
# See to a compiler that is new enough, and install the named packages that are missing. Does nothing, and needs no root, when all
# are there.
set -eu

fail() { echo "deps: $*" >&2; exit 1; }

wanted=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$(dirname "$0")/../Cargo.toml")
compiler=$(${RUSTC:-rustc} -V 2>/dev/null | cut -d ' ' -f 2)
{ command -v "${CARGO:-cargo}" && [ -n "$compiler" ]; } >/dev/null ||
    fail "no Rust compiler, $wanted or later is needed (Debian 13: apt-get install cargo; before that: https://rustup.rs)"
[ "$(printf '%s\n' "$wanted" "${compiler%%-*}" | sort -V | head -1)" = "$wanted" ] ||
    fail "Rust $compiler is too old, $wanted or later is needed (Debian 13 has it; before that: https://rustup.rs)"
missing=
for package in "$@"; do
    case $package in
        # A server of one's own needs no package of it, and brings its modules.
        kamailio | kamailio-*) [ "${KAMAILIO:-kamailio}" = kamailio ] || continue ;;
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
