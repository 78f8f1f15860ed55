#!/bin/bash
# deb-test.sh [RELEASE [TREE [INSIDE]]]: installs, uses, upgrades and removes the package of TREE (target/package/*.deb), and its tarball
# if there is one, in a folder with nothing but a fresh Debian RELEASE (default: this machine's) and its Kamailio. The demonstration
# runs from TREE, which the folder sees as INSIDE (where it was compiled), with the module that the package brought.
# shellcheck disable=SC2016 # what stands in single quotes is for the shell inside
set -u

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=packaging/machine.sh
. "$here/machine.sh"

release=${1:-$(. /etc/os-release && echo "$VERSION_CODENAME")}
tree=${2:-$(dirname "$here")}
inside=${3:-$tree}
name=kamailio-dispatcher-rs
[ "$(find "$tree/target/package" -maxdepth 1 -name '*.deb' | wc -l)" = 1 ] || fail "not one package in $tree/target/package"
package=$(basename "$tree"/target/package/*.deb)
demo=$inside/target/release/examples/demo
[ -x "$tree/target/release/examples/demo" ] || fail "no demonstration in $tree/target/release/examples"

lock "$release" clean
root=$cache/$release/clean
at_exit() { rm -rf "$root" "$root.new"; }
base "$release" || exit
unpack "$release" "$root" || fail "cannot unpack $release"

# A shell does not stop at `! command`, so not() does.
in_clean() {
    enter "$root" "$tree:$inside:ro" -- sh -euc 'not() { if "$@"; then echo "this must fail: $*"; exit 1; fi; }
        '"$1" - "${@:2}"
}
step() { echo "== $1"; shift; in_clean "$@" || fail "that went wrong"; }
# What is on the disk, but for the notes of the package manager.
files='find / -xdev -path /var/lib/dpkg -prune -o -path /var/lib/apt -prune -o -path /var/cache -prune -o -path /var/log -prune -o -path /run/systemd -prune -o \
    -path /tmp -prune -o -path /etc/hosts -o -path /etc/resolv.conf -o ! -type d -printf "%p %s\n" -o -printf "%p\n" | sort'

step "the server, without the module" '
    apt-get -q update >/dev/null
    apt-get -q -y install --no-install-recommends kamailio sip-tester systemd >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    dpkg-query -W kamailio'
in_clean "$files" >"$cache/$release/before.list"

step "install" '
    apt-get -q -y install --no-install-recommends "$1" >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    grep "^'$name'\|^    mpath" /tmp/log
    not grep WARNING /tmp/log
    dpkg --verify '$name'
    dpkg-query -W '$name'' "$inside/target/package/$package"

step "the example takes the module from where the package put it" '
    doc=/usr/share/doc/'$name'
    grep -qF "$(sed -n "s/^ *\(mpath=.*\)/\1/p" /tmp/log)" $doc/examples/kamailio.cfg
    echo "100 sip:192.0.2.15:5060 0 0 duid=1015" >/tmp/list
    kamailio -f $doc/examples/kamailio.cfg -DD -E -Y /tmp -A LISTEN_ADDR=udp:127.0.0.1:5060 -A DISPATCHER_LIST=\"/tmp/list\" \
        >/tmp/server 2>&1 &
    for try in $(seq 100); do ! grep "dispatcher (Rust)" /tmp/server || break; sleep 0.1; done
    grep -q "dispatcher (Rust)" /tmp/server || { cat /tmp/server; exit 1; }
    kill $!
    wait $!
    for file in copyright changelog.gz changelog.Debian.gz README.md docs/health.md docs/start.md docs/reference/parameters.md; do test -s $doc/$file; done
    for word in ds_select_dst ds_ping_interval maxload dispatcher.explain kamailio_dispatcher_destination_up; do
        zcat /usr/share/man/man7/'$name'.7.gz | grep -qF $word
    done'

step "systemd takes the drop-in" '
    install -D -m 644 /usr/share/doc/'$name'/examples/systemd.conf /etc/systemd/system/kamailio.service.d/dispatcher.conf
    systemd-analyze verify kamailio.service 2>&1 | tee /tmp/verified
    not grep dispatcher.conf /tmp/verified
    rm -r /etc/systemd/system/kamailio.service.d'

step "the program checks a list" '
    test -s /usr/share/man/man1/dispatcher-check.1.gz
    test -s /usr/share/bash-completion/completions/dispatcher-check
    dispatcher-check /tmp/list | grep "1 loaded, nothing wrong"
    printf "100 sip:192.0.2.15 0 0 maxload=2x\n7\n" | not dispatcher-check -'

step "the demonstration, with the module of the package" '
    cd '"$inside"'
    DISPATCHER_SO=$(dpkg -L '$name' | grep /dispatcher.so) '"$demo"' >/tmp/demo 2>&1 || { tail -60 /tmp/demo; exit 1; }
    tail -12 /tmp/demo'

step "upgrade: to the next version, while the server is another than the module is for" '
    dpkg-deb -R "$1" /tmp/next
    sed -i "s/^Version: .*/&+next/" /tmp/next/DEBIAN/control
    dpkg-deb --root-owner-group -b /tmp/next /tmp/next.deb >/dev/null
    modules=$(dirname $(dpkg -L kamailio | grep /pv.so))
    cp -p $modules/pv.so /tmp/pv.so
    sed -i s/SHM_MMAP/SHM_NONE/ $modules/pv.so
    apt-get -q -y install /tmp/next.deb >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    grep WARNING /tmp/log
    cp -p /tmp/pv.so $modules/pv.so
    dpkg-query -W '$name' | grep next
    echo "   and a new file of the server: it looks again"
    apt-get -q -y install --reinstall kamailio >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    grep "Processing triggers for '$name'" /tmp/log
    not grep WARNING /tmp/log' "$inside/target/package/$package"

step "another release of the server does not go with it" '
    dpkg-query -W -f "\${Depends}\n" '$name'
    version=$(dpkg-query -W -f "\${Version}" kamailio)
    mkdir -p /tmp/other/DEBIAN
    printf "Package: kamailio\nVersion: %s.99-1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: another\n" \
        "${version%.*}" >/tmp/other/DEBIAN/control
    dpkg-deb -b /tmp/other /tmp/other.deb >/dev/null
    apt-get -q -y --simulate install /tmp/other.deb | grep "^Remv '$name'"'

step "remove and purge" '
    apt-get -q -y remove '$name' >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    grep "^'$name'" /tmp/log
    apt-get -q -y purge '$name' >/tmp/log 2>&1 || { cat /tmp/log; exit 1; }
    not dpkg-query -W '$name' 2>/dev/null'
for tarball in "$tree"/target/package/*.tar.gz; do
    [ -f "$tarball" ] || continue
    step "the same from $(basename "$tarball")" '
        cd /tmp
        tar -xzf "$1"
        cd '$name'-*/
        ./install.sh
        /usr/local/bin/dispatcher-check /tmp/list
        kamailio -c -f doc/examples/kamailio.cfg -A LISTEN_ADDR=udp:127.0.0.1:5060 -A DISPATCHER_LIST=\"/tmp/list\" >/tmp/log 2>&1 ||
            { cat /tmp/log; exit 1; }
        modules=$(dirname $(dpkg -L kamailio | grep /pv.so))
        cp -p $modules/pv.so /tmp/pv.so
        sed -i s/SHM_MMAP/SHM_NONE/ $modules/pv.so
        not ./install.sh
        cp -p /tmp/pv.so $modules/pv.so
        ./install.sh --uninstall
        rmdir /usr/local/lib/kamailio /usr/local/share/man/man7 /usr/local/share/man/man1' "$inside/target/package/$(basename "$tarball")"
done
in_clean "$files" >"$cache/$release/after.list"
diff "$cache/$release/before.list" "$cache/$release/after.list" || fail "the package leaves something behind"
echo "== nothing is left of it: $package is good on $release"
