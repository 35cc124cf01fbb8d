#!/bin/sh
# kedge eval cbr with a real model on a short text: rows, identities, what it refuses.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state
if ! "$kedge" model path smol >/dev/null 2>&1; then
    skip "kedge eval cbr" "the model smol is not here: kedge model get smol"
    exit 0
fi
# rows file, row, field
field() { sed -n "${2}p" "$dir/$1" | sed -n "s/.*\"$3\":\([^,}]*\).*/\1/p" | tr -d '"'; }
near() { awk -v a="$1" -v b="$2" -v most="$3" 'BEGIN { d = a - b; print (d < most && -d < most) ? "yes" : a " and " b }'; }
eval_cbr() { "$kedge" eval cbr -m smol "$@"; }

mkdir "$dir/p"
cat >"$dir/p/tank.h" <<'T'
#ifndef TANK_H
#define TANK_H

struct tank;

struct tank *tank_new(unsigned litres, const char *label);

void tank_free(struct tank *tank);

int tank_pour(struct tank *from, struct tank *into, unsigned litres);

unsigned tank_level(const struct tank *tank, unsigned *capacity);

const char *tank_label(const struct tank *tank, char *out, unsigned long size);

#endif
T
cat >"$dir/p/plan.py" <<'T'
import tank

LIMIT = 12

def plan(levels, target, steps=(1, 2)):
    return [level for level in levels if level < target]


class Planner:
    def choose(self, tanks, target, limit=LIMIT):
        return sorted(tanks, key=tank.level)[:limit]
T
cat >"$dir/p/main.c" <<'T'
#include <stdio.h>

#include "tank.h"

static void show(const struct tank *tank)
{
    char label[64];
    unsigned capacity, level = tank_level(tank, &capacity);
    printf("%s: %u of %u\n", tank_label(tank, label, sizeof label), level, capacity);
}

static int move(struct tank *from, struct tank *into, unsigned litres)
{
    int moved = tank_pour(from, into, litres);
    show(from);
    show(into);
    return moved;
}

int main(void)
{
    struct tank *a = tank_new(5, "five"), *b = tank_new(3, "three");
    move(a, b, 3);
    move(b, a, 2);
    move(a, b, 1);
    tank_free(a);
    tank_free(b);
    return 0;
}
T
printf '# two texts\np/tank.h p/plan.py p/main.c\n\np/main.c # its own file alone\n' >"$dir/LIST"

eval_cbr --json --read chain,linked --look all,recall -k 32,4096 -w 64 --target 64 --constants 2 --prototypes 4 "$dir/p/tank.h" "$dir/p/plan.py" \
    "$dir/p/main.c" >"$dir/one" 2>"$dir/used"
check "a text is measured" $? = 0
check "one row for each combination that gives something else" "$(wc -l <"$dir/one")" = 6
check "each file's tokens are told" "$(grep -c ' of .* tokens  .*p/' "$dir/used")" = 3
check "a chain looked at in full is the reference" "$(field one 1 cbr)" = 1
check "constants are asked for" "$(field one 1 constants_asked)" = 2
check "parameter lists are asked for" "$(field one 1 prototype_tokens)" -ge 15
check "and some are known" "$(awk -v x="$(field one 1 prototypes_full)" 'BEGIN { print (x > 0.5) }')" = 1
check "more than without the other files" "$(awk -v a="$(field one 1 prototypes_full)" -v b="$(field one 1 prototypes_own)" 'BEGIN { print (a > b) }')" = 1
check "recall of everything is the full look at a chain" "$(near "$(field one 3 nll)" "$(field one 1 nll)" 0.02)" = yes
check "and at linked files" "$(near "$(field one 6 nll)" "$(field one 4 nll)" 0.02)" = yes
check "recall of a few reads less" "$(awk -v a="$(field one 2 bytes_per_token)" -v b="$(field one 2 bytes_per_token_full)" 'BEGIN { print (a < 0.6 * b) }')" = 1
check "the context helps" "$(awk -v a="$(field one 1 nll_full)" -v b="$(field one 1 nll_window)" 'BEGIN { print (a < b) }')" = 1
check "a row says how it was measured" \
    "$(field one 2 read) $(field one 2 look) $(field one 2 k) $(field one 2 w) $(field one 2 bits) $(field one 2 form) $(field one 1 k)" = "chain recall 32 64 2 plain null"

eval_cbr --json --kv q8_0 --read chain --look all --target 64 --constants 2 --prototypes 4 "$dir/p/tank.h" "$dir/p/plan.py" "$dir/p/main.c" >"$dir/q8" 2>/dev/null
check "keys of 8 bits read 17 bytes where those of 16 bits read 32" "$(field q8 1 kv) $(awk -v a="$(field q8 1 bytes_per_token)" -v b="$(field one 1 bytes_per_token)" 'BEGIN { print a * 32 == b * 17 }')" = "q8_0 1"
check "and are nearly as good" "$(field one 1 kv) $(near "$(field q8 1 nll)" "$(field one 1 nll)" 0.02) $(test "$(field q8 1 nll)" != "$(field one 1 nll)" && echo another)" = "f16 yes another"

eval_cbr --json --policy recall --bits 1,4 --chat --target 32 --constants 2 --prototypes 1 --texts "$dir/LIST" >"$dir/list" 2>/dev/null
check "a list of texts is measured in chat form" $? = 0
check "a row a text and one for all, for each number of bits" "$(wc -l <"$dir/list")" = 6
check "sums come before ratios" "$(field list 3 text) $(field list 3 target) $(field list 3 constants_asked) $(field list 6 bits)" = "all 64 2 4"
check "one file alone gains nothing from others" "$(field list 2 cross_cbr) $(field list 2 constants_asked)" = "null 0"
check "the same text and seed give the same numbers, named in a list or not" "$(cd "$dir" && eval_cbr --json --policy full --target 32 --constants 2 --prototypes 1 --chat p/tank.h p/plan.py p/main.c 2>/dev/null |
    sed 's/.*"nll_full":\([^,]*\).*/\1/')" = "$(field list 1 nll_full)"
eval_cbr --kv q8_0 --policy full --target 64 --constants 0 --prototypes 0 "$dir/p/main.c" >"$dir/table" 2>/dev/null
check "a table has a head and a row, which says what keys and values are kept as" "$(wc -l <"$dir/table") $(awk '{ print $4 }' "$dir/table" | xargs)" = "2 kv q8_0"

for _ in $(seq 100); do echo p/main.c; done >"$dir/MANY"
"$kedge" eval cbr -m smol --policy full --target 32 --json --texts "$dir/MANY" >"$dir/many" 2>"$dir/err" &
pid=$!
for _ in $(seq 300); do [ -s "$dir/many" ] && break; sleep 0.1; done
kill -INT $pid
wait $pid
check "interrupted, it stops and says so" "$? $(grep -c 'kedge eval cbr: stopped after [0-9]* of 100 texts' "$dir/err")" = "1 1"

refused() { # name, exit status, word of the message, arguments
    name=$1 wanted=$2 word=$3
    shift 3
    "$kedge" eval cbr -m smol "$@" >"$dir/out" 2>"$dir/err"
    check "$name" "$? $(grep -c "kedge eval cbr: .*$word" "$dir/err") $(wc -c <"$dir/out")" = "$wanted 1 0"
}
: >"$dir/empty.c"
refused "no file is wrong usage" 2 FILE
refused "files and a list are wrong usage" 2 FILE --texts "$dir/LIST" "$dir/p/main.c"
refused "an unknown rule is wrong usage" 2 linked --read alone,every "$dir/p/main.c"
refused "three bits are wrong usage" 2 "1, 2 or 4" --bits 3 "$dir/p/main.c"
refused "an unknown type of keys is wrong usage" 2 "f16 or q8_0" --json --kv f32 "$dir/p/main.c"
refused "a rule and a policy are wrong usage" 2 policy --policy full --look all "$dir/p/main.c"
refused "an empty file fails" 1 "too few" --json "$dir/empty.c"
refused "a file that is not there fails" 1 nothere --json "$dir/nothere.c"
refused "a list of nothing fails" 1 "names no text" --texts "$dir/empty.c"
awk 'BEGIN { for (i = 0; i < 4000; i++) printf "int f%d(int a);\n", i }' >"$dir/long.h"
refused "a context longer than the model's fails" 1 "trained for" --json --target 64 --tokens 20000 "$dir/long.h" "$dir/p/main.c"
echo "1..$n"
exit $failed
