#!/bin/sh
# Runs the fuzz target of the port, which is all that strangers can reach, for a time, and every other one for its share
# of the same time again: fuzz.sh SECONDS (at least 2 s each).
set -eu
total=$1
go=${GO:-go}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
targets=$(grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9_]*' . | sed 's|^\./||; s|:[0-9]*:func | |' | sort)
# These link the drivers of databases, whose instrumented build takes minutes: they have their turn in a long run.
heavy='^(storages|engine/s3storage/objstore/bucket)/'
if [ "$total" -lt 300 ]; then
    printf '%s\n' "$targets" | grep -E "$heavy" | sed 's/$/: left to a run of 300 s or more/'
    targets=$(printf '%s\n' "$targets" | grep -vE "$heavy")
fi
count=$(printf '%s\n' "$targets" | wc -l)
each=$((total / count))
[ "$each" -ge 2 ] || each=2
echo "$count fuzz targets, $each s each, FuzzPort $total s"

# The here-document keeps the loop in this shell, so that it can count.
failed=0
while read -r file target; do
    seconds=$each
    [ "$target" != FuzzPort ] || seconds=$total
    if "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" "./$(dirname "$file")" </dev/null >"$log" 2>&1; then
        echo "$file $target: $(grep 'execs:' "$log" | tail -n 1)"
        continue
    fi
    # Go reports the end of the time inside an execution as a failure (golang.org/issue/75804). A finding has an input.
    if grep -q 'context deadline exceeded' "$log" && ! grep -qE 'Failing input|panic:' "$log"; then
        echo "$file $target: the time ended inside an execution; nothing found"
        continue
    fi
    cat "$log"
    failed=$((failed + 1))
done <<EOF
$targets
EOF
echo "fuzz: $((count - failed)) passed, $failed failed"
[ "$failed" -eq 0 ]
