#!/bin/sh
# Fetch the source package of the installed Kamailio and configure it, so that build.rs finds the headers.
#
#   kamailio-headers/fetch.sh            prints the folder of the source tree when done
#   KAMAILIO=/path/to/kamailio           the server to match (default: the one in PATH)
#
# The package comes through apt-get from the same archive as the installed server, with the same signing key.
# The system's own apt lists are not touched.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$here/source
fail() { echo "kamailio-headers: $*" >&2; exit 1; }

server=${KAMAILIO:-kamailio}
command -v "$server" >/dev/null || fail "no '$server' found; install it (make deps) or set KAMAILIO="
package=kamailio
version=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) ||
    fail "'$server' is not from a Debian package; set KAMAILIO_SRC= to its source tree"

if [ -f "$out/$version/src/config.mak" ]; then
    echo "$out/$version"
    exit 0
fi

for tool in apt-get dpkg-source make cc; do
    command -v "$tool" >/dev/null || fail "'$tool' is missing; run 'make deps'"
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial"

# One deb-src line for each archive that the machine already trusts for binary packages.
apt-get indextargets --format '$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SIGNED_BY)' 'Created-By: Packages' |
    sort -u | while IFS='|' read -r uri suite component key; do
    case $key in
        /*) trust="[signed-by=$key]" ;;
        *) trust= ;;
    esac
    echo "deb-src $trust $uri $suite $component"
done >"$work/sources.list"
[ -s "$work/sources.list" ] || fail "apt knows no package archive; run 'apt-get update' first"

apt() {
    apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State::Lists="$work/lists" -o APT::Sandbox::User=root "$@"
}
# A third-party archive that does not answer is no obstacle: the next step tells whether the right one did.
apt update >"$work/log" 2>&1 || true
# Some mirrors lack a file that nothing here needs, the upstream signature, and that stops the whole: then part by part.
source_package() { (cd "$work" && apt source --download-only "$@" "$package=$version" >>"$work/log" 2>&1); }
source_package || { source_package --dsc-only && source_package --tar-only && source_package --diff-only; } ||
    { cat "$work/log" >&2; fail "no source package $package=$version; set KAMAILIO_SRC= to a source tree"; }
dpkg-source --no-check -x "$work"/*.dsc "$work/tree" >>"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "the source package cannot be unpacked"; }
make -C "$work/tree" cfg >>"$work/log" 2>&1 ||
    { cat "$work/log" >&2; fail "'make cfg' fails in the source tree"; }

mkdir -p "$out"
rm -rf "${out:?}/$version"
mv "$work/tree" "$out/$version"
echo "$out/$version"
