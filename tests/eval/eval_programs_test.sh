#!/bin/sh
# Programs that the 1.5B writes with thousands of tokens of an unrelated repository in front, by recall and by full attention: the same
# within noise. HUMANEVAL names HumanEval.jsonl.gz and INFILLING HumanEval-SingleLineInfilling.jsonl.gz, which are not a part of kedge;
# ITEMS how many of each (164 and 200).
# Hours: CHECK_LONG=1 only.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
if [ "${CHECK_LONG:-0}" != 1 ]; then
    skip 'programs by recall and in full' 'takes hours: make check-long'
    exit 0
fi
if ! "$kedge" model path q15 >/dev/null 2>&1; then
    skip 'programs by recall and in full' 'the model q15 is not here: kedge model get q15'
    exit 0
fi
export KEDGE_CACHE="$dir/cache" KEDGE_STATE="$dir/state"
# (none of them has to do with what is asked for)
in_front='--context engine/context/sequence.c --context engine/cache/kv_store.c'

compare() { # name, command, file, items
    if [ ! -r "$3" ]; then
        skip "$1" "$2's file is not named: see tests/eval/eval_programs_test.sh"
        return
    fi
    for policy in recall full; do
        # shellcheck disable=SC2086 # options
        "$kedge" eval "$2" -m q15 --limit "$4" --policy $policy $in_front --json "$3" >"$dir/$2.$policy" || echo "# kedge eval $2 by $policy failed"
    done
    n=$((n + 1))
    if python3 - "$dir/$2.recall" "$dir/$2.full" "$4" <<'P'
import json, math, sys

def read(path):
    rows = [json.loads(line) for line in open(path)]
    return {row["task_id"]: row["passed"] for row in rows if "task_id" in row}, rows[-1]

(recall, of_recall), (full, of_full) = read(sys.argv[1]), read(sys.argv[2])
assert recall.keys() == full.keys() and len(full) == of_full["total"] == int(sys.argv[3]), "not all were asked"
assert of_full["context_tokens"] >= 6000, "only %d tokens in front" % of_full["context_tokens"]
only_recall = sum(recall[t] and not full[t] for t in full)
only_full = sum(full[t] and not recall[t] for t in full)
apart = only_recall + only_full
# sign test, two-sided: that chance alone parts them so
p = min(1, 2 * sum(math.comb(apart, i) for i in range(min(only_recall, only_full) + 1)) / 2**apart)
print("# %d tokens in front, of %d passed: recall %d, full %d; recall alone %d, full alone %d, p %.2f"
      % (of_full["context_tokens"], len(full), of_recall["passed"], of_full["passed"], only_recall, only_full, p))
sys.exit(p < 0.05)
P
    then echo "ok $n - $1"; else echo "not ok $n - $1"; fi
}

compare 'HumanEval by recall and in full' humaneval "${HUMANEVAL:-}" "${ITEMS:-164}"
compare 'single lines by recall and in full' infill "${INFILLING:-}" "${ITEMS:-200}"
