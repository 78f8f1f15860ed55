#!/bin/sh
# start-inside.sh STEPS: what start-test.sh does in the folder. Each file in STEPS is a block of the page.
set -eu

config=/etc/kamailio/kamailio.cfg
began=$(date +%s)
ours=0   # seconds that are not the page's
most=600 # the page says ten minutes
exec 4>&1 # what is told goes there, also from inside a line of the page
told() { echo "-- $*" >&4; }
wrong() { [ ! -s /tmp/output ] || tail -30 /tmp/output >&4; echo "== WRONG: $*" >&4; exit 1; }

# The server's network: its own address and those of the page's gateways, which only the routing knows, so that the server does not
# take them for its own.
network() {
    apt-get -q install --no-install-recommends iproute2 >/dev/null
    unshare --net sh -ec 'ip link set lo up
        ip addr add 192.0.2.1/32 dev lo
        ip route add local 192.0.2.0/24 dev lo
        : >/tmp/network
        exec sleep infinity' &
    network=$!
    await 10 network test -e /tmp/network
}
in_network() { nsenter --target "$network" --net "$@"; }

await() { # SECONDS WHAT COMMAND...
    patience=$1 what=$2
    shift 2
    for _ in $(seq $((patience * 10))); do
        ! "$@" 2>/dev/null || return 0
        sleep 0.1
    done
    wrong "no $what within $patience s"
}

sipp_at() { # ADDRESS PORT SCENARIO MORE...
    address=$1 port=$2 scenario=$3
    shift 3
    in_network sipp -sf "/root/$scenario.xml" -i "$address" -p "$port" -nostdin -trace_err -error_file "/tmp/$address.errors" "$@"
}

# In the place of systemd's, which does not run here: what Debian's unit says.
systemctl() {
    [ "$*" = 'restart kamailio' ] || wrong "systemctl $*: nobody does that here"
    unit=/lib/systemd/system/kamailio.service
    told "(no systemd runs here: this line alone is replaced, by the command of $unit)"
    of_unit() { sed -n "s/^$1=//p" "$unit"; }
    at_network=$(date +%s)
    network
    ours=$((ours + $(date +%s) - at_network))
    for gateway in $(sed -n 's/.*sip:\([0-9.]*\):5060.*/\1/p' /etc/kamailio/dispatcher.list); do
        sipp_at "$gateway" 5060 gateway -aa -trace_logs -log_file "/tmp/$gateway.log" >/dev/null 2>&1 &
    done
    user=$(of_unit User)
    install -d -o "$user" -g "$(of_unit Group)" -m "$(of_unit RuntimeDirectoryMode)" "/run/$(of_unit RuntimeDirectory)"
    eval "export $(of_unit Environment | tr '\n' ' ')"
    set -a
    # shellcheck disable=SC1091
    [ ! -f /etc/default/kamailio ] || . /etc/default/kamailio
    set +a
    eval "in_network setpriv --reuid $user --regid $(of_unit Group) --init-groups $(of_unit ExecStart)"
}

# run_lines FILE: each line as it stands, in this shell.
run_lines() {
    while read -r line <&3; do
        [ -n "$line" ] || continue
        echo "\$ $line"
        at=$(date +%s)
        # Not in a pipe, which would be a shell of its own: `. ~/.cargo/env` is to last.
        eval "$line" >/tmp/output 2>&1 3<&- || wrong "'$line' ends with $?"
        cat /tmp/output
        ! grep -q '^error:' /tmp/output || wrong "'$line' answers with an error"
        told "$(($(date +%s) - at)) s"
    done 3<"$1"
}

# edit FILE: the block without its first line goes where that line says.
edit() {
    place=$(head -1 "$1")
    tail -n +2 "$1" >/tmp/block
    case $place in
        '# at the end of the file') cat /tmp/block >>"$config" ;;
        '# in the place of this line: '* | '# below this line: '* | '# above this line: '*)
            at=${place#*line: }
            # The whole line, but for blanks around it, and only once.
            awk -v place="$place" -v at="$at" '
                function block(text) { while ((getline text <"/tmp/block") > 0) print text; close("/tmp/block") }
                { line = $0; gsub(/^[ \t]+|[ \t]+$/, "", line) }
                line != at { print; next }
                { found++ }
                place ~ /^# in/ { block() }
                place ~ /^# below/ { print; block() }
                place ~ /^# above/ { block(); print }
                END { exit found != 1 }' "$config" >/tmp/edited || wrong "$config does not have one line '$at'"
            cat /tmp/edited >"$config" ;;
        *) wrong "a block of configuration does not say where it goes: $place" ;;
    esac
    told "written into $config: $place"
}

cd /root/source
for step in "$1"/*; do
    case $step in
        *.sh) run_lines "$step" ;;
        *.kamailio) edit "$step" ;;
        *.list)
            file=$(sed -n '1s/^# \(\/[^:]*\):.*/\1/p' "$step")
            [ -n "$file" ] || wrong "a list does not say which file it is"
            cp "$step" "$file"
            told "written: $file" ;;
        *) wrong "$step: nobody knows what to do with it" ;;
    esac
done
followed=$(($(date +%s) - began - ours))

# What the page says that the reader sees.
version=$(dpkg-query -W -f '${Version}' kamailio-dispatcher-rs)
kamcmd dispatcher.version | grep -q "DESTINATIONS: 3" || wrong "dispatcher.version has no 3 destinations"
probed() { [ "$(kamcmd dispatcher.list | grep -c 'FLAGS: AP')" = 3 ]; }
await 15 "AP of all three" probed

# And what it promises.
loads() { kamcmd dispatcher.list | sed -n 's/.*DLGLOAD: //p' | tr '\n' ' '; }
has_loads() { [ "$(loads)" = "$1" ]; }
sipp_at 192.0.2.100 5062 caller 192.0.2.1:5060 -s 100 -m 60 -r 30 -l 60 >/tmp/caller 2>&1 &
caller=$!
await 12 "even load, 20 each," has_loads '20 20 20 '
told "60 calls are up: $(loads)"
first=$(($(date +%s) - began - ours))
wait "$caller" || { tail -40 /tmp/caller; cat /tmp/*.errors; wrong "calls failed"; }
await 10 "end of the load" has_loads '0 0 0 '
for log in /tmp/192.0.2.1[567].log; do
    [ "$(grep -c answered "$log")" = 20 ] || wrong "$log: $(grep -c answered "$log") calls"
done
[ "$first" -le "$most" ] || wrong "even load was there after $first s, and the page says $most"
kamcmd dispatcher.load_audit >/tmp/audit
! grep -E '(DRIFT|MISPLACED): -?[1-9]' /tmp/audit || wrong "the load drifts"
told "all 60 have ended: $(loads)"
echo "== good: package $version; the page took $followed s, even load was there after $first s (the page says $most; $ours s for the network of the test are not in it)"
