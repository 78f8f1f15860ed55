#!/bin/sh
# The tests on a real Kamailio that these arguments select. What failed is said once more at the end, where one looks first.
#
# One or two that failed run once more, alone. A test that passes then is UNSTABLE: it waits for too little, or the module has a race. That
# is a defect to mend, and is said, but it does not stop all others from being believed.
set -u
cargo=${CARGO:-cargo}
log=${CARGO_TARGET_DIR:-target}/it.log

run() {
    { "$cargo" test --release --locked --test it -- "$@" --test-threads="${THREADS:-6}"; echo $? >"$log.status"; } 2>&1 | tee "$log"
    return "$(cat "$log.status")"
}

run "$@" && exit 0
failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' "$log")
panics=$(grep -A 4 'panicked at' "$log")
count=$(printf '%s\n' "$failed" | grep -c .)
again=1
if [ "$count" -ge 1 ] && [ "$count" -le 2 ]; then
    # shellcheck disable=SC2086 # names have no spaces
    THREADS=1 run --exact $failed && again=0
fi
[ $again = 0 ] && verdict=UNSTABLE || verdict=FAILED
printf '\n%s\n\n' "$panics"
printf "%s\n" "$failed" | sed "s/^/$verdict: /"
exit $again
