#!/bin/sh
# install.sh [--prefix FOLDER] [--uninstall]
#
# Puts the module for @VERSION@ into a folder of its own: /usr/local/lib/kamailio/dispatcher-rs, or below
# FOLDER in the place of /usr/local. The manual page goes to share/man there. KAMAILIO=/path/to/kamailio names the server if it is not
# in PATH, KAMAILIO_MODULES=/folder its modules if they are not where it says.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
prefix=/usr/local
uninstall=
while [ $# -gt 0 ]; do
    case $1 in
        --prefix) prefix=${2:?--prefix needs a folder}; shift ;;
        --uninstall) uninstall=yes ;;
        *) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
    shift
done
folder=$prefix/lib/kamailio/dispatcher-rs
manual=$prefix/share/man/man7/@NAME@.7

if [ -n "$uninstall" ]; then
    rm -f "$folder/dispatcher.so" "$manual"
    rmdir "$folder" 2>/dev/null || true
    echo "removed; with $folder still in mpath the server loads its own dispatcher from now on"
    exit 0
fi

@FITS@
server=${KAMAILIO:-kamailio}
command -v "$server" >/dev/null || { echo "no '$server' in PATH: set KAMAILIO=" >&2; exit 1; }
modules=${KAMAILIO_MODULES:-$("$server" -I | sed -n 's/.*paths to modules: \([^:]*\).*/\1/p')}
fits "${modules%/}" || exit 1

mkdir -p "$folder" "$(dirname "$manual")"
# By a new name first: a server that runs keeps the file that it has.
cp "$here/dispatcher.so" "$folder/dispatcher.so.new"
chmod 644 "$folder/dispatcher.so.new"
mv "$folder/dispatcher.so.new" "$folder/dispatcher.so"
cp "$here/@NAME@.7" "$manual"
echo "In kamailio.cfg, before loadmodule \"dispatcher.so\":"
echo "    mpath=\"$folder/:${modules%/}/\""
