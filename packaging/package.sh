#!/bin/bash
# package.sh deb | tarball | manuals FOLDER: packs build/dispatcher.so for the server that it was built for and prints the file's name, or makes the
# manual pages only, for a module in that folder.
#
#   KAMAILIO=, KAMAILIO_MODULES=   that server and the folder of its modules, as for the build
#   DEBFULLNAME=, DEBEMAIL=        who makes the package (default: what git says)
set -eu

tree=$(cd "$(dirname "$0")/.." && pwd)
cd "$tree"
fail() { echo "package: $*" >&2; exit 1; }
export LC_ALL=C
shopt -u patsub_replacement 2>/dev/null || true # an & in a text is one

name=kamailio-dispatcher-rs
cargo_deb=3.6.2 # later ones need a later Rust than the module (3.8.0 does, though it says 1.85)
target=${CARGO_TARGET_DIR:-$tree/target}
out=$target/package
server=${KAMAILIO:-kamailio}
modules=${KAMAILIO_MODULES:-$("$server" -I | sed -n 's/.*paths to modules: \([^:]*\).*/\1/p')}
modules=${modules%/}
number=$(sed -n 's/^version = "\(.*\)"/\1/p;T;q' Cargo.toml)

# The two texts that the loader compares, from a module of that server; ours must have them as well.
stock=$modules/pv.so
[ -f "$stock" ] || stock=$modules/pv/pv.so # as in a tree that is not installed
[ -f "$stock" ] || fail "no pv.so in $modules: set KAMAILIO_MODULES= to where the server's modules are"
texts() { tr '\0' '\n' <"$stock" | grep -aE -m 1 "$1"; }
version=$(texts '^kamailio [0-9].*\(.*\)$') || fail "$stock names no version"
flags=$(texts '^[A-Z][A-Z0-9_]+(-[A-Z0-9_]+)?(, [A-Z][A-Z0-9_]+(-[A-Z0-9_]+)?){3,}$') || fail "$stock names no flags"
for text in "$version" "$flags"; do
    grep -aqF -e "$text" build/dispatcher.so || fail "build/dispatcher.so is not for this server ('$text'): run make build"
done
release=${version#kamailio }
release=${release%% *}

commit_date=$(git log -1 --format=%ct 2>/dev/null || date +%s)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$commit_date}

fill() { # FILE: with all that stands in @…@
    local text
    text=$(cat "$1")
    text=${text//@FITS@/$(tail -n +2 packaging/fits.sh)}
    text=${text//@CRATES@/${crates:-}}
    text=${text//@FOLDER@/$folder}
    text=${text//@MODULES@/$modules}
    text=${text//@DOC@/$doc}
    text=${text//@VERSION@/$version}
    text=${text//@FLAGS@/$flags}
    text=${text//@YEAR@/$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y)}
    printf '%s\n' "${text//@NAME@/$name}"
}

# manual NAME SECTION VOLUME: makes a manual page of text. It has tables; names stay whole, also in narrow columns.
manual() {
    lowdown -s -T man -M title="${1^^}" -M section="$2" -M date="$(date -u -d "@$SOURCE_DATE_EPOCH" +%F)" \
        -M volume="$3" -M source="$name $number" | sed -e "1i '\\\\\" t" -e '/^\.TH/a .nh\n.ad l'
}

# manuals FOLDER: both manual pages.
manuals() {
    # The program's manual is its page.
    {
        fill packaging/check.md
        sed '1d; s/^#\(#*\) /\1 /; s/^# .*/\U&/' docs/check.md | sed -E 's/\[([^]]*)\]\([^)]*\)/\1/g'
    } | manual dispatcher-check 1 'User commands' >"$1/dispatcher-check.1"
    # The manual page is the reference of the book, one chapter a page.
    {
        fill packaging/manual.md
        for page in functions parameters attributes variables rpc events metrics; do
            # The table of a page's own headings, and links, mean nothing on paper.
            sed -E '/^\| (function|parameter|attribute|variable|command|event) \|/,+1d; /^\| \[`/d; /^\| \*\*[^|]*\*\* \| \|/d; s/\[([^]]*)\]\([^)]*\)/\1/g' "docs/reference/$page.md" |
                sed -E '/^<!--.*-->$/d; s/^# .*/\U&/; s/^### (.*)/## `\1`/; s/^(- \*\*[A-Z][A-Za-z]*)\*\*:/\1:**/'
            echo
        done
        fill packaging/manual-end.md
    } | manual "$name" 7 'Kamailio modules' >"$1/$name.7"
}

# files FOLDER: what every package has.
files() {
    mkdir -p "$1/doc/examples" "$1/doc/docs/prometheus" "$1/doc/docs/reference"
    cp build/dispatcher.so "$1/dispatcher.so"
    strip --strip-unneeded "$1/dispatcher.so"
    cp build/dispatcher-check "$1/"
    strip "$1/dispatcher-check"
    build/dispatcher-check --completions bash >"$1/dispatcher-check.bash"
    build/dispatcher-check --completions zsh >"$1/_dispatcher-check"
    cp CHANGELOG.md "$1/"
    cp README.md "$1/doc/"
    find docs -maxdepth 1 -name '*.md' ! -name benchmarks.md -exec cp {} "$1/doc/docs/" \;
    cp docs/picture.svg "$1/doc/docs/"
    cp -r docs/images "$1/doc/docs/"
    cp docs/reference/*.md "$1/doc/docs/reference/"
    cp docs/prometheus/* "$1/doc/docs/prometheus/"
    sed "s|^mpath=.*|mpath=\"$folder/:$modules/\"|" kamailio.cfg.example >"$1/doc/examples/kamailio.cfg"
    cp examples/systemd.conf "$1/doc/examples/"
    manuals "$1"
}

deb() {
    local package=$out/deb upstream next maintainer version_of_package
    dpkg-query -S "$(command -v "$server")" >/dev/null 2>&1 || fail "'$server' is not from a package: use make tarball"
    upstream=$(dpkg-query -W -f '${Version}' kamailio)
    upstream=${upstream%-*}
    [[ $upstream == *"$release"* ]] || fail "the package kamailio is $upstream, the server $release"
    # Any revision of the release that the loader accepts, and none of the next.
    next=${release%.*}.$((${release##*.} + 1))
    [[ $upstream != *:* ]] || next=${upstream%%:*}:$next
    folder=$(dirname "$modules")/dispatcher-rs
    doc=/usr/share/doc/$name
    crates=$(${CARGO:-cargo} tree --locked -e normal --prefix none -f '  {p}: {l}' | tail -n +2 | sort -u)

    # Not optimized: it packs a few small files, and is there in two thirds of the time.
    [ "$("$target/tools/bin/cargo-deb" --version 2>/dev/null)" = "$cargo_deb" ] ||
        ${CARGO:-cargo} install --quiet --debug --locked --root "$target/tools" --target-dir "$target/tools/build" \
            --version "$cargo_deb" cargo-deb || fail "cannot install cargo-deb"
    rm -rf "$target/tools/build" "$package"
    mkdir -p "$package/src" "$package/scripts"
    files "$package"
    for script in postinst postrm; do
        fill "packaging/$script" >"$package/scripts/$script"
    done
    echo "interest-noawait $modules" >"$package/triggers"
    fill packaging/copyright >"$package/copyright"
    cp packaging/lintian-overrides "$package/lintian-overrides"
    version_of_package=$number+kamailio$release-1
    maintainer="${DEBFULLNAME:-$(git config user.name 2>/dev/null || echo local)}"
    maintainer+=" <${DEBEMAIL:-$(git config user.email 2>/dev/null || echo "root@$(hostname -f)")}>"
    {
        echo "$name ($version_of_package) unstable; urgency=medium"
        printf '\n  * Built for %s.\n\n' "$version"
        echo " -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
    } >"$package/changelog"
    local description="A native module that takes the place of the stock dispatcher of the Kamailio SIP server: same name, same \
script functions, same list files, and a call count for each gateway that is exact. It is built for $version and goes into a \
folder of its own, which has to be named in mpath."
    : >"$package/src/lib.rs"
    cat >"$package/Cargo.toml" <<-END
	[package]
	name = "$name"
	version = "$number"
	edition = "2021"
	license = "GPL-2.0-or-later"
	description = "load balancing for Kamailio, in the place of its dispatcher module"

	[workspace]

	[package.metadata.deb]
	maintainer = "$maintainer"
	section = "net"
	priority = "optional"
	depends = ["\$auto", "libgcc-s1", "kamailio (>= ${upstream%%+*})", "kamailio (<< $next~)"]
	extended-description = "$description"
	maintainer-scripts = "scripts"
	triggers-file = "triggers"
	changelog = "changelog"
	assets = [
	    ["dispatcher.so", "${folder#/}/dispatcher.so", "644"],
	    ["$name.7", "usr/share/man/man7/$name.7", "644"],
	    ["dispatcher-check", "usr/bin/dispatcher-check", "755"],
	    ["dispatcher-check.1", "usr/share/man/man1/dispatcher-check.1", "644"],
	    ["dispatcher-check.bash", "usr/share/bash-completion/completions/dispatcher-check", "644"],
	    ["_dispatcher-check", "usr/share/zsh/vendor-completions/_dispatcher-check", "644"],
	    ["copyright", "${doc#/}/copyright", "644"],
	    ["lintian-overrides", "usr/share/lintian/overrides/$name", "644"],
	    ["CHANGELOG.md", "${doc#/}/changelog", "644"],
	    ["doc/README.md", "${doc#/}/", "644"],
	    ["doc/docs/*.md", "${doc#/}/docs/", "644"],
	    ["doc/docs/picture.svg", "${doc#/}/docs/", "644"],
	    ["doc/docs/images/*", "${doc#/}/docs/images/", "644"],
	    ["doc/docs/reference/*.md", "${doc#/}/docs/reference/", "644"],
	    ["doc/docs/prometheus/*", "${doc#/}/docs/prometheus/", "644"],
	    ["doc/examples/*", "${doc#/}/examples/", "644"],
	]
	END
    rm -f "$out"/*.deb
    "$target/tools/bin/cargo-deb" --quiet --no-build --no-strip --manifest-path "$package/Cargo.toml" \
        --deb-version "$version_of_package" --output "$out/" >&2 || fail "cargo-deb fails"
    ls "$out"/*.deb
}

tarball() {
    local base
    base=$name-$number-kamailio-$release-$(uname -m)
    folder=/usr/local/lib/kamailio/dispatcher-rs
    doc=.
    rm -rf "${out:?}/$base"
    mkdir -p "$out/$base"
    files "$out/$base"
    cp LICENSE "$out/$base/"
    fill packaging/install.sh >"$out/$base/install.sh"
    chmod 755 "$out/$base/install.sh"
    rm -f "$out"/*.tar.gz
    tar -C "$out" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -czf "$out/$base.tar.gz" "$base"
    rm -rf "${out:?}/$base"
    echo "$out/$base.tar.gz"
}

mkdir -p "$out"
case ${1:-} in
    deb) deb ;;
    tarball) tarball ;;
    manuals) # for make install, with the folder of the module
        folder=${2:?} doc=$tree
        mkdir -p "$out/manuals"
        manuals "$out/manuals" ;;
    *) fail "usage: package.sh deb | tarball | manuals FOLDER" ;;
esac
