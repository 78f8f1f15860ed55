#!/bin/bash
# shellcheck disable=SC2016 # what stands in single quotes is for the shell inside
# matrix.sh [RELEASE...]: builds and tests the module in each Debian release, as a user of that release does.
#
# Each has its own Kamailio, its own headers and, where it is new enough, its own Rust; else this machine's is lent to it. The
# folder is made once, and kept in ${XDG_CACHE_HOME:-~/.cache}/kamailio-dispatcher/<release>.
#
#   STAGES="build load demo"   only these (default: build load demo unit server package)
#   KAMAILIO_SRC=/path         a source tree of that release's Kamailio, where its archive has none (one release only)
#   MIRROR=http://…            where Debian is (default http://deb.debian.org/debian)
#
# Ends with 75 if nothing could be tried because the mirror is out of reach and no folder is there yet.
set -u

tree=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=packaging/machine.sh
. "$tree/packaging/machine.sh"

stages=${STAGES:-build load demo unit server package}
logs=$tree/target/matrix
inside=/root/kamailio-dispatcher
mkdir -p "$logs"

if [ $# -gt 0 ]; then
    releases=("$@")
    optional=
else
    releases=(bookworm trixie sid)
    # Its source may not be in the archive yet, or no longer.
    optional=sid
fi
[ -z "${KAMAILIO_SRC:-}" ] || [ ${#releases[@]} = 1 ] || fail "KAMAILIO_SRC= is of one release: name it with RELEASE="

# in_root COMMAND: a line of shell in the release at hand, in the source tree.
in_root() {
    enter "$root" "$cache/cargo:/root/.cargo" "${toolchain[@]}" -- \
        env KAMAILIO_SRC="${KAMAILIO_SRC:+/root/kamailio}" sh -c "cd $inside 2>/dev/null; [ -n \"\$KAMAILIO_SRC\" ] || unset KAMAILIO_SRC; $1"
}

# The folder of the release: up to date where the mirror answers, with a compiler.
prepare() {
    [ -d "$root" ] || unpack "$release" "$root" || return 1
    in_root 'timeout 180 apt-get -q update && apt-get -q -y dist-upgrade' || echo "the mirror is out of reach: $release stays as it is"
    in_root 'apt-get -q -y install --no-install-recommends make' || return 1
    local wanted own
    wanted=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' "$tree/Cargo.toml")
    own=$(in_root 'apt-cache policy rustc' | sed -n 's/.*Candidate: *//p')
    if dpkg --compare-versions "${own:-0}" ge "$wanted"; then
        in_root 'apt-get -q -y install --no-install-recommends cargo rustc' || return 1
        rust=own
    else
        local sysroot
        sysroot=$(rustc --print sysroot) || { echo "$release has Rust ${own:-none}, and this machine has none to lend"; return 1; }
        [ "$sysroot" != /usr ] || { echo "$release has Rust ${own:-none}; lending this machine's takes one of rustup"; return 1; }
        toolchain=("$sysroot:/opt/rust:ro")
        rust=lent
    fi
}

# The sources. What was built before stays, but no file looks older than it.
copy_sources() {
    local new=$root/root/new old=$root$inside kept
    rm -rf "$new"
    clone "$tree" "$new" || return 1
    for kept in target kamailio-headers/source; do
        [ ! -d "$old/$kept" ] || mv "$old/$kept" "$new/$kept" || return 1
    done
    rm -rf "$old"
    mv "$new" "$old"
    [ -n "${KAMAILIO_SRC:-}" ] || return 0
    rm -rf "$root/root/kamailio"
    cp -a "$KAMAILIO_SRC" "$root/root/kamailio"
}

counted() { # LOG: passed of all, over all test programs
    awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d of %d", passed, passed + failed }' "$1"
}

# stage NAME: runs it, and leaves its cell of the table in $cell.
stage() {
    local log=$logs/$release.$1.log began=$SECONDS status=0
    case $1 in
        build) in_root 'make -s deps && { [ -z "${KAMAILIO_SRC:-}" ] || make -s -C "$KAMAILIO_SRC" cfg; } && make build' ;;
        load) in_root 'echo "100 sip:192.0.2.15:5060" >/tmp/list &&
            kamailio -c -f kamailio.cfg.example -A LISTEN_ADDR=udp:127.0.0.1:5060 -A DISPATCHER_LIST=\"/tmp/list\" \
                -A DISPATCHER_MODULE=\"$PWD/build/dispatcher.so\"' ;;
        demo) in_root 'make demo' ;;
        unit) in_root 'make unit' ;;
        server) in_root 'make it' ;;
        package) in_root "DEBFULLNAME='$(git -C "$tree" config user.name)' DEBEMAIL='$(git -C "$tree" config user.email)' make deb &&
            lintian --allow-root --fail-on error target/package/*.deb" &&
            aside "$tree/packaging/deb-test.sh" "$release" "$root$inside" "$inside" ;;
        *) fail "no stage $1" ;;
    esac >"$log" 2>&1 </dev/null || status=1
    case $1 in
        unit | server) cell=$(counted "$log") ;;
        *) cell=yes ;;
    esac
    if [ "$status" != 0 ]; then
        case $1 in
            unit | server) ;;
            *) cell=FAILED ;;
        esac
        ! grep -q 'no source package' "$log" || cell='no headers'
        echo "$release: $1: FAILED, $log ends with"
        tail -15 "$log" | sed 's/^/    /'
    fi
    cell="$cell ($((SECONDS - began)) s)"
    [ "$status" != 0 ] || echo "$release: $1: $cell"
    return "$status"
}

table=$logs/$(IFS=+; echo "${releases[*]}").md
{
    printf '| release | Kamailio | Rust |'
    for name in $stages; do printf ' %s |' "$name"; done
    printf '\n|---|---|---|'
    for name in $stages; do printf -- '---|'; done
    echo
} >"$table"

result=0
for release in "${releases[@]}"; do
    root=$cache/$release/root
    toolchain=()
    rust=
    lock "$release" root
    began=$SECONDS
    base "$release"
    case $? in
        0) ;;
        "$UNREACHABLE")
            echo "$release: SKIPPED, nothing was tried"
            [ "$result" != 0 ] || [ "$release" = "$optional" ] || result=$UNREACHABLE
            unlock
            continue ;;
        *) echo "$release: its folder cannot be made, see $cache/$release/debootstrap.log"; result=1; unlock; continue ;;
    esac
    if ! { prepare && copy_sources; } >"$logs/$release.prepare.log" 2>&1; then
        echo "$release: its folder cannot be prepared, $logs/$release.prepare.log ends with"
        tail -15 "$logs/$release.prepare.log" | sed 's/^/    /'
        result=1
        unlock
        continue
    fi
    echo "$release: folder ready ($((SECONDS - began)) s)"
    row=
    good=1
    for name in $stages; do
        if [ "$good" = 0 ]; then
            row="$row – |"
            continue
        fi
        if ! stage "$name"; then
            # Without a module that loads there is nothing more to see.
            case $name in build | load) good=0 ;; esac
            case $cell in
                'no headers'*) [ "$release" = "$optional" ] || result=1 ;;
                *) result=1 ;;
            esac
        fi
        row="$row $cell |"
    done
    kamailio=$(in_root 'dpkg-query -W -f "\${Version}" kamailio' 2>/dev/null)
    compiler=$(in_root 'rustc -V' 2>/dev/null | cut -d ' ' -f 2)
    echo "| $release | $kamailio | $compiler, $rust |$row" >>"$table"
    unlock
done
echo
cat "$table"
exit "$result"
