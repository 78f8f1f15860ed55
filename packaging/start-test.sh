#!/bin/bash
# start-test.sh [RELEASE...]: follows docs/start.md word by word on a fresh Debian (bookworm and trixie), then places calls.
#
# The fenced blocks of the page are the test, in their order: each line of a `sh` block is given to one shell; a `kamailio` block is
# written into Debian's own kamailio.cfg where its first line says; the `list` block is written to the file that its first line names.
# A block below a line "On Debian 12 …:" or "On Debian 13 …:" is for that release only. What is not as on a person's machine:
#
# - apt-get asks nothing, and starts no service;
# - no systemd runs in the folder: in the place of `systemctl restart kamailio` the command of Debian's own unit is run, as its user
#   (the test says so when it comes to it);
# - the server has a network of its own, in which SIPp answers at the page's addresses of gateways.
#
# Beside the log of each release in target/start-test it tells how long each step took. Ends with 75 if nothing could be tried because
# the mirror is out of reach.
# shellcheck disable=SC2016 # what stands in single quotes is for the shell inside
set -u

tree=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=packaging/machine.sh
. "$tree/packaging/machine.sh"

logs=$tree/target/start-test
mkdir -p "$logs"
[ $# -gt 0 ] || set -- bookworm trixie

# steps FOLDER NUMBER: the blocks of the page that are for this Debian, as FOLDER/NN.KIND.
steps() {
    mkdir -p "$1"
    awk -v folder="$1" -v debian="$2" '
        /^```/ && inside { close(file); inside = 0; next }
        /^```/ {
            inside = 1
            kind = substr($0, 4)
            file = sprintf("%s/%02d.%s", folder, ++count, kind)
            if (kind == "text" || (only != "" && only != debian)) file = "/dev/null"
            only = ""
            next
        }
        inside { print >file; next }
        /^On Debian [0-9]+.*:$/ { only = $3 + 0 }' "$tree/docs/start.md"
}

result=0
for release in "$@"; do
    case $release in
        bookworm) number=12 ;;
        trixie) number=13 ;;
        *) fail "docs/start.md is for bookworm and trixie, not for $release" ;;
    esac
    lock "$release" start
    root=$cache/$release/start
    at_exit() { rm -rf "$root" "$root.new"; }
    base "$release"
    case $? in
        0) ;;
        "$UNREACHABLE") echo "$release: SKIPPED, nothing was tried"; [ "$result" != 0 ] || result=$UNREACHABLE; unlock; continue ;;
        *) echo "$release: its folder cannot be made, see $cache/$release/debootstrap.log"; result=1; unlock; continue ;;
    esac
    unpack "$release" "$root" || fail "cannot unpack $release"
    echo 'APT::Get::Assume-Yes "true";' >"$root/etc/apt/apt.conf.d/90yes"
    clone "$tree" "$root/root/source" || fail "cannot copy the sources"
    steps "$root/root/steps" "$number"
    cp "$tree/packaging/start-inside.sh" "$tree/tests/demo/gateway.xml" "$root/root/"
    # Calls that all are up at the same time: each talks for as long as it takes to look.
    sed 's|<pause distribution.*/>|<pause milliseconds="15000"/>|' "$tree/tests/demo/answered.xml" >"$root/root/caller.xml"
    echo "== $release: docs/start.md, word by word"
    enter "$root" -- sh /root/start-inside.sh /root/steps >"$logs/$release.log" 2>&1 </dev/null
    status=$?
    grep -E '^(==|--|\$) ' "$logs/$release.log"
    if [ "$status" != 0 ]; then
        echo "== $release: FAILED, $logs/$release.log ends with"
        tail -60 "$logs/$release.log" | sed 's/^/    /'
        result=1
    fi
    at_exit
    at_exit() { :; }
    unlock
done
exit "$result"
