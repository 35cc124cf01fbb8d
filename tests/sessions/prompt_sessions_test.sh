#!/bin/sh
# kedge -p with the real model: what has been read is not read again, whoever asks, in whatever order, after any crash.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
here=$PWD
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state
if ! "$kedge" model path smol >/dev/null 2>&1; then
    skip "sessions of kedge -p" "the model smol is not here: kedge model get smol"
    exit 0
fi
field() { sed -n "s/.*\"$2\":\([0-9]*\).*/\1/p" "$dir/$1.stats"; }
ask() { # name of the run, then arguments
    run=$1
    shift
    "$kedge" -C "$here" -m smol --greedy --stats -n 24 "$@" >"$dir/$run.out" 2>"$dir/$run.stats" || { echo "# run $run failed"; cat "$dir/$run.stats"; }
}
same() { cmp -s "$dir/$1.out" "$dir/$2.out"; echo $?; }

ask a1 -p "What does main do?" --file tui/main.c --session a
check "the first run answers" -s "$dir/a1.out"
check "the first run computes everything" "$(field a1 computed_tokens)" -ge 100
ask b1 -p "What does main do?" --file tui/main.c --session b
check "a second session computes under 40 tokens" "$(field b1 computed_tokens)" -lt 40
check "and gives the same answer" "$(same a1 b1)" = 0
ask a2 -p "Which file holds the list of commands?" --session a
question=$("$kedge" tokenize -m smol --special - <<T | wc -w
<|im_end|>
<|im_start|>user
Which file holds the list of commands?<|im_end|>
<|im_start|>assistant
T
)
check "a further question computes only itself" "$(field a2 computed_tokens)" -le $((question + 4))
check "behind everything before" "$(field a2 reused_tokens)" -ge $(($(field a1 prompt_tokens) + 20))
check "a question without a cache computes everything" "$(ask n1 --no-cache -p "What does main do?" --file tui/main.c; field n1 reused_tokens)" = 0
check "and gives the same answer, too" "$(same a1 n1)" = 0

ask f1 -p "What is this?" --file base/digest.h --file base/status.h
ask f2 -p "What is this?" --file base/status.h --file base/digest.h
check "two files in another order compute only the question" "$(field f2 computed_tokens)" -lt 40
cp base/digest.h "$dir/digest.h"
echo "/* edited */" >>"$dir/digest.h"
ask f3 -p "What is this?" --file "$dir/digest.h" --file base/status.h
edited=$("$kedge" tokenize -m smol "$dir/digest.h" | wc -w)
check "one of them edited computes that one and the question" "$(field f3 computed_tokens)" -le $((edited + 100))
check "not less" "$(field f3 computed_tokens)" -ge "$edited"

# Killed at any moment, a run leaves a cache that opens and is used; the answer is the same as ever.
ask k0 --no-cache -p "What does this do?" --file engine/session/pieces.c
duration=$(sed -n 's/.*"prefill_s":\([0-9.]*\).*/\1/p' "$dir/k0.stats")
start() { # in the background, on an empty cache
    rm -rf "$dir/cache" "$dir/state"
    "$kedge" -C "$here" -m smol --greedy -n 24 -p "What does this do?" --file engine/session/pieces.c --session k >/dev/null 2>&1 &
    pid=$!
}
end() {
    kill -9 $pid 2>/dev/null
    wait $pid 2>/dev/null
}
start
stored=0
while [ "$stored" -lt 256 ] && kill -0 $pid 2>/dev/null; do
    sleep 0.1
    stored=$("$kedge" cache ls 2>/dev/null | awk '/ file / { n = $2 } END { print n + 0 }')
done
end
ask k1 -p "What does this do?" --file engine/session/pieces.c --session after
check "killed while it reads, a run leaves what was committed" "$(field k1 reused_tokens)" -ge "$stored"
check "and the answer is the same" "$(same k0 k1)" = 0
rounds=2
[ "${CHECK_LONG:-0}" = 1 ] && rounds=40
round=0 broken=0
while [ $round -lt $rounds ]; do
    start
    sleep "$(awk -v r=$round -v n=$rounds -v d="$duration" 'BEGIN { printf "%.2f", (d + 2.0) * (r + 0.5) / n }')"
    end
    ask k1 -p "What does this do?" --file engine/session/pieces.c --session after
    [ "$(same k0 k1)" = 0 ] || broken=$((broken + 1))
    ask k2 -p "And now?" --session k
    [ -s "$dir/k2.out" ] || broken=$((broken + 1))
    round=$((round + 1))
done
check "$rounds runs killed anywhere: nothing breaks" $broken = 0

"$kedge" cache verify >"$dir/verify"
check "the cache verifies" $? = 0
"$kedge" cache ls | grep -q engine/session/pieces.c
check "the cache lists the file" $? = 0
id=$("$kedge" cache ls | awk '/ file .*pieces.c/ { print $1; exit }')
"$kedge" cache rm "$id" && ! "$kedge" cache ls | grep -q "^ *$id "
check "a block can be forgotten" $? = 0
"$kedge" -p 2>/dev/null
check "wrong usage is exit status 2" $? = 2
"$kedge" -m /nonexistent.gguf -p x 2>"$dir/err"
check "a failure is exit status 1" $? = 1
check "and one line" "$(wc -l <"$dir/err")" = 1
echo "1..$n"
exit $failed
