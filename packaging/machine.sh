# shellcheck shell=bash disable=SC2016 # what stands in single quotes is for the shell inside
# Folders with a whole Debian release in them, and commands that run there. Sourced by matrix.sh, deb-test.sh and start-test.sh.
#
# Each command gets a mount and a process namespace of its own. When its first process ends, for whatever reason, the kernel ends
# all others and takes the mounts away: a failure, Ctrl-C or a kill of the script leaves nothing behind.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/kamailio-dispatcher
mirror=${MIRROR:-http://deb.debian.org/debian}
packaging=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What a script ends with when a folder cannot be made because the mirror does not answer: nothing was tried.
readonly UNREACHABLE=75

fail() { echo "$(basename "$0"): $*" >&2; exit 1; }

running=
end_running() {
    [ -n "$running" ] || return 0
    kill -KILL "$running" 2>/dev/null
    wait "$running" 2>/dev/null
    running=
}
at_exit() { :; } # what a script has to tidy up itself
trap 'end_running; at_exit' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

[ "$(id -u)" = 0 ] || fail "run as root: a folder with another release in it takes that"
for tool in debootstrap unshare setpriv flock; do
    command -v "$tool" >/dev/null || sh "$packaging/../kamailio-headers/deps.sh" debootstrap util-linux || exit 1
done

# aside COMMAND...: runs it and waits for it, in a way that a signal does not have to. Should the script itself be killed, so is
# this. (What a shell starts aside ignores Ctrl-C if nobody says otherwise.)
aside() {
    local status=0
    env --default-signal=INT,QUIT setpriv --pdeathsig KILL "$@" &
    running=$!
    wait "$running" || status=$?
    running=
    return "$status"
}

# contained COMMAND...: runs it in namespaces of its own.
contained() { aside unshare --mount --pid --fork --kill-child -- "$@"; }

# enter ROOT [FOLDER:INSIDE[:ro]...] -- COMMAND...: runs it with ROOT as /, and the folders mounted in it.
enter() { contained bash "$packaging/inside.sh" "$@"; }

reachable() { # RELEASE
    local probe status=0
    probe=$(mktemp -d)
    timeout 60 /usr/lib/apt/apt-helper download-file "$mirror/dists/$1/Release" "$probe/Release" >/dev/null 2>&1 || status=1
    rm -rf "$probe"
    return "$status"
}

# lock RELEASE FOLDER: one run at a time for each. What runs inside holds it, too, so it is free only when all of that has gone.
lock() {
    mkdir -p "$cache/$1" "$cache/cargo"
    exec {held}>"$cache/$1/$2.lock"
    flock -n "$held" || { echo "another run uses $cache/$1/$2, waiting for it"; flock "$held"; }
}
unlock() { exec {held}>&-; }

# base RELEASE: sees to $cache/RELEASE/base.tar, the release as debootstrap leaves it.
base() {
    local folder=$cache/$1
    [ ! -f "$folder/base.tar" ] || return 0
    reachable "$1" || { echo "the mirror $mirror is out of reach for $1" >&2; return "$UNREACHABLE"; }
    rm -rf "$folder/new"
    contained bash -c '
        debootstrap --variant=minbase --include=ca-certificates "$1" "$2/new" "$3" </dev/null &&
            tar -C "$2/new" --numeric-owner --xattrs -cf "$2/base.tar.new" . && mv "$2/base.tar.new" "$2/base.tar"
        ' - "$1" "$folder" "$mirror" >"$folder/debootstrap.log" 2>&1
    local status=$?
    rm -rf "$folder/new"
    [ "$status" -ne 0 ] || return 0
    tail -20 "$folder/debootstrap.log" >&2
    reachable "$1" || { echo "the mirror $mirror went out of reach for $1" >&2; return "$UNREACHABLE"; }
    return 1
}

# unpack RELEASE ROOT: a fresh copy of the base, with this machine's settings of the network.
unpack() {
    local root=$2
    rm -rf "$root.new"
    mkdir -p "$root.new"
    tar -C "$root.new" --xattrs --numeric-owner -xf "$cache/$1/base.tar" || return 1
    {
        echo "deb $mirror $1 main"
        case $1 in
            sid | unstable | experimental) ;;
            *) echo "deb $mirror $1-updates main"; echo "deb $mirror-security $1-security main" ;;
        esac
    } | sed 's|^deb |&[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] |' >"$root.new/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https|Check|Retries)' >"$root.new/etc/apt/apt.conf.d/90network"
    # What apt and dpkg write goes into logs, where lines end as in a file.
    echo 'Dpkg::Use-Pty "0";' >"$root.new/etc/apt/apt.conf.d/90plain"
    echo force-unsafe-io >"$root.new/etc/dpkg/dpkg.cfg.d/unsafe-io"
    # No service starts because its package is installed.
    printf '#!/bin/sh\nexit 101\n' >"$root.new/usr/sbin/policy-rc.d"
    chmod 755 "$root.new/usr/sbin/policy-rc.d"
    cp /usr/local/share/ca-certificates/*.crt "$root.new/usr/local/share/ca-certificates/" 2>/dev/null
    rm -rf "$root"
    mv "$root.new" "$root"
    enter "$root" -- update-ca-certificates >/dev/null 2>&1
}

# clone TREE FOLDER: the files of the work tree, as a fresh clone would have them.
clone() {
    mkdir -p "$2"
    (cd "$1" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
        [ ! -f "$file" ] || printf '%s\0' "$file"
    done | tar --null -T - -cf -) | tar -C "$2" --no-same-owner -mxf -
}
