#!/bin/sh
# install.sh [--prefix FOLDER] [--uninstall]
#
# Puts the module for @VERSION@ into a folder of its own: /usr/local/lib/kamailio/dispatcher-rs, or below
# FOLDER in the place of /usr/local. The program dispatcher-check goes to bin there, the manual pages to share/man, its completions to
# share/bash-completion and share/zsh. KAMAILIO=/path/to/kamailio names the server if it is not
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
program=$prefix/bin/dispatcher-check
program_manual=$prefix/share/man/man1/dispatcher-check.1
bash=$prefix/share/bash-completion/completions/dispatcher-check
zsh=$prefix/share/zsh/site-functions/_dispatcher-check

if [ -n "$uninstall" ]; then
    rm -f "$folder/dispatcher.so" "$manual" "$program" "$program_manual" "$bash" "$zsh"
    for empty in "$folder" "$(dirname "$bash")" "$prefix/share/bash-completion" "$(dirname "$zsh")" "$prefix/share/zsh"; do
        rmdir "$empty" 2>/dev/null || true
    done
    echo "removed; with $folder still in mpath the server loads its own dispatcher from now on"
    exit 0
fi

@FITS@
server=${KAMAILIO:-kamailio}
command -v "$server" >/dev/null || { echo "no '$server' in PATH: set KAMAILIO=" >&2; exit 1; }
modules=${KAMAILIO_MODULES:-$("$server" -I | sed -n 's/.*paths to modules: \([^:]*\).*/\1/p')}
fits "${modules%/}" || exit 1

for file in "$folder/dispatcher.so" "$manual" "$program" "$program_manual" "$bash" "$zsh"; do
    mkdir -p "$(dirname "$file")"
done
# By a new name first: a server that runs keeps the file that it has.
cp "$here/dispatcher.so" "$folder/dispatcher.so.new"
chmod 644 "$folder/dispatcher.so.new"
mv "$folder/dispatcher.so.new" "$folder/dispatcher.so"
cp "$here/@NAME@.7" "$manual"
cp "$here/dispatcher-check" "$program.new"
chmod 755 "$program.new"
mv "$program.new" "$program"
cp "$here/dispatcher-check.1" "$program_manual"
cp "$here/dispatcher-check.bash" "$bash"
cp "$here/_dispatcher-check" "$zsh"
echo "In kamailio.cfg, before loadmodule \"dispatcher.so\":"
echo "    mpath=\"$folder/:${modules%/}/\""
