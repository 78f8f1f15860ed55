#!/bin/bash
# inside.sh ROOT [FOLDER:INSIDE[:ro]...] -- COMMAND...
#
# The first process of namespaces that machine.sh made: mounts what a system needs in ROOT, and runs the command there. All of it is
# gone when this ends.
set -eu

root=$1
shift
# The tests mount over files of their own view of the system: / must be a mount point.
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
# A terminal for who asks for one: a test looks at colours.
mkdir "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mkdir -m 1777 "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
rm -f "$root/etc/resolv.conf"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$(uname -n)" >"$root/etc/hosts"
while [ "$1" != -- ]; do
    IFS=: read -r from to mode <<<"$1"
    mkdir -p "$root$to"
    mount --bind "$from" "$root$to"
    [ -z "$mode" ] || mount -o "remount,bind,$mode" "$root$to"
    shift
done
shift

# What the machine says about its network, and nothing else of the environment.
network=()
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || network+=("$name=${!name}")
done
# Not exec: the first process must be one that takes in orphans.
chroot "$root" /usr/bin/env -i "${network[@]}" HOME=/root LANG=C.UTF-8 TERM=dumb DEBIAN_FRONTEND=noninteractive \
    PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
