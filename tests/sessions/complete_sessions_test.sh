#!/bin/sh
# kedge complete --print with a real model: what is printed, from which text, and what is not read again.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state XDG_CONFIG_HOME=$dir/config
field() { sed -n "s/.*\"$2\":\"\{0,1\}\([A-Za-z0-9.]*\).*/\1/p" "$dir/$1.stats"; }
complete() { # name of the run, then arguments
    run=$1
    shift
    "$kedge" complete --print --stats "$@" >"$dir/$run.out" 2>"$dir/$run.stats"
}
if "$kedge" model path smol >/dev/null 2>&1; then
    echo 'int x;' >"$dir/x.c"
    complete s1 -m smol "$dir/x.c:1:1"
    check "a model without the tokens is refused, with what to do" "$?:$(grep -c 'no tokens for fill-in-the-middle; choose' "$dir/s1.stats")" = 1:1
fi
if ! "$kedge" model path q05 >/dev/null 2>&1; then
    skip "completions" "the model q05 is not here: kedge model get q05"
    exit 0
fi
mkdir "$dir/repo"
(cd "$dir/repo" && git init -q)
cat >"$dir/repo/stack.h" <<'T'
/* A stack of numbers. */
struct stack { int *numbers; int count; };
int stack_pop_or_zero(struct stack *stack);
T
{
    printf '#include "stack.h"\n\n/* Words that fill the page, so that there is something to keep. */\n'
    i=0
    while [ $i -lt 40 ]; do
        printf 'static int number_%d(int a, int b)\n{\n    return a * %d + b;\n}\n' $i $i
        i=$((i + 1))
    done
    printf 'int add(int a, int b)\n{\n    \n}\n\nint subtract(int a, int b)\n{\n    return a - b;\n}\n'
} >"$dir/repo/main.c"
line=$(grep -n '^int add' "$dir/repo/main.c" | cut -d: -f1)
at=$dir/repo/main.c:$((line + 2)):5
complete p1 --lines 1 "$at"
check "the line that is missing" "$(cat "$dir/p1.out")" = "return a + b;"
check "all of it is read the first time" "$(field p1 reused_tokens)" = 0
complete p2 --lines 1 "$at"
check "the same again" "$(cmp -s "$dir/p1.out" "$dir/p2.out"; echo $?)" = 0
check "from the cache but for the end" "$(field p2 computed_tokens)" -le 128
check "every token is one or the other" $(($(field p2 computed_tokens) + $(field p2 reused_tokens))) = "$(field p2 prompt_tokens)"
complete p3 --lines 1 --no-cache "$at"
check "without a cache the same" "$(cmp -s "$dir/p1.out" "$dir/p3.out"; echo $?)" = 0
complete p4 --lines 1 --stdin "$dir/repo/not-there.c:$((line + 2)):5" <"$dir/repo/main.c"
check "text that is not saved" "$(cmp -s "$dir/p1.out" "$dir/p4.out"; echo $?)" = 0
sed 's/$/\r/' "$dir/repo/main.c" >"$dir/repo/crlf.c"
complete p5 --tokens 24 "$dir/repo/crlf.c:$((line + 2)):5"
check "in lines that end in CR LF, at the same place" "$(head -n 1 "$dir/p5.out" | tr -d '\r')" = "return a + b;"
check "no line end is bare" "$(tr -d '\r' <"$dir/p5.out" | wc -l)" = "$(grep -c "$(printf '\r')$" "$dir/p5.out")"
check "length is told" "$(complete p6 --tokens 2 "$at"; field p6 end):$(field p6 decode_tokens)" = length:2

# Files of the repository: those that were read already, or hardly cost anything.
(cd "$dir/repo" && "$kedge" index >/dev/null 2>&1)
complete c1 --lines 1 "$at"
check "what the file includes stands in front" "$(field c1 files)" = 1
check "still the line" "$(cat "$dir/c1.out")" = "return a + b;"
complete c2 --lines 1 --no-context "$at"
check "unless nothing shall" "$(field c2 files)" = 0

# Of a file that looks secret nothing is kept.
cp "$dir/repo/main.c" "$dir/repo/.env"
complete e1 --lines 1 --no-context "$dir/repo/.env:$((line + 2)):5"
check "a secret file is not stored" "$("$kedge" cache ls --json | grep -c '\.env')" = 0
"$kedge" complete --print "$dir/repo/main.c" >/dev/null 2>"$dir/err"
check "a place without a line is wrong usage" "$?:$(grep -c 'FILE:LINE:COL' "$dir/err")" = 2:1
"$kedge" complete --print "$dir/repo/none.c:1:1" >/dev/null 2>&1
check "a file that is not there is an error" $? = 1
exit $failed
