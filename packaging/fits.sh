# shellcheck shell=sh
# Whether the installed server is the one that the module is built for: its loader compares two texts, which each module of that
# server has in its file. (@…@ is filled in when the package is made.)
fits() { # FOLDER: where the server's own modules are
    for stock in "$1/pv.so" "$1/pv/pv.so" "$1/tm.so" "$1/sl.so"; do
        [ ! -f "$stock" ] || break
    done
    if [ ! -f "$stock" ]; then
        echo "@NAME@: WARNING: no module of the server in $1: cannot tell whether this one fits it" >&2
        return 1
    fi
    for text in '@VERSION@' '@FLAGS@'; do
        # Whole texts that end with a zero byte, as C has them.
        LC_ALL=C grep -azqxF -e "$text" "$stock" || {
            echo "@NAME@: WARNING: the installed server is another than the one that this module is built for," >&2
            echo "  which says '$text'; $stock does not. The server will refuse to load the module." >&2
            return 1
        }
    done
}
