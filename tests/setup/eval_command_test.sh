#!/bin/sh
# kedge eval as a person uses it: made items, real models, the sandbox.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
export KEDGE_CACHE="$dir/cache" KEDGE_STATE="$dir/state"
# Runs kedge eval; its output in out and err, its exit status in status.
evaluate() {
    "$kedge" eval "$@" >"$dir/out" 2>"$dir/err" </dev/null
    status=$?
}
# The lines of out as `lines`, those of other files by their names, in a condition of Python.
holds() {
    python3 -c "
import json, sys
def of(name):
    return [json.loads(line) for line in open('$dir/' + name)]
lines = of('out')
assert $1, lines
"
}
fails_with() { # exit status, text
    test "$status" = "$1" && grep -q -- "$2" "$dir/err" && test "$(wc -l <"$dir/err")" = 1 && test ! -s "$dir/out"
}
python3 - "$dir" <<'PY'
import gzip, json, sys
place = sys.argv[1]
def item(i, name, body, line):
    prompt = f'def {name}(a: int, b: int) -> int:\n    """ The {name} of a and b.\n    """\n'
    test = f"def check(candidate):\n    assert candidate(7, 2) == {line}\n"
    return {"task_id": f"made/{i}\u001b[2J", "prompt": prompt, "entry_point": name, "canonical_solution": body, "test": test}
items = [item(0, "sum", "    return a + b\n", "9"), item(1, "product", "    return a * b\n", "14"), item(2, "difference", "    return a - b\n", "5")]
with gzip.open(place + "/functions.jsonl.gz", "wt") as file:
    file.writelines(json.dumps(i) + "\n" for i in items)
with open(place + "/lines.jsonl", "w") as file:
    for i, (head, line, rest) in enumerate([("total = 0\nfor n in [1, 2, 3]:\n", "    total += n\n", "print(total)\n"),
                                            ("def add(a, b):\n", "    return a + b\n", "\nprint(add(1, 2))\n"),
                                            ("a = 1\n", "xyzzy_plugh(a, -17.5)\n", "b = 2\n")]):
        file.write(json.dumps({"task_id": f"line/{i}", "prompt": head, "suffix": rest, "canonical_solution": line, "test": ""}) + "\n")
PY
head -c 200 "$dir/functions.jsonl.gz" >"$dir/cut.jsonl.gz"
echo 'KEDGE_NUMBER = 4711' >"$dir/front.py"
echo 'TOKEN=abc' >"$dir/.env"

evaluate --help
succeeds "--help is exit status 0 and tells of both" sh -c "test $status = 0 && grep -q 'eval humaneval ' '$dir/out' && grep -q 'eval infill ' '$dir/out'"
for wrong in "" "fly" "infill" "humaneval a b" "humaneval --limit 0 a" "humaneval --limit x a" "infill --policy fly a" "humaneval --bare a" \
    "infill --bare --context a b" "infill --colour a"; do
    # shellcheck disable=SC2086 # words
    evaluate $wrong
    succeeds "wrong usage is exit status 2: eval $wrong" sh -c "test $status = 2 && test \$(wc -l <'$dir/err') = 1"
done
evaluate humaneval "$dir/nothing"
succeeds "a file that is not there" fails_with 1 "cannot open"
evaluate infill "$dir/cut.jsonl.gz"
succeeds "a damaged file" fails_with 1 "fetch it again"
evaluate infill "$dir/functions.jsonl.gz"
succeeds "items of another kind" fails_with 1 "line 1 has no text named suffix"

if ! "$kedge" model path smol >/dev/null 2>&1; then
    skip "functions" "the model smol is not here: kedge model get smol"
elif evaluate humaneval -m smol --max-tokens 1 --limit 1 "$dir/functions.jsonl.gz" && [ $status != 0 ] && grep -q sandbox "$dir/err"; then
    skip "functions" "$(cat "$dir/err")"
else
    evaluate humaneval -m smol --max-tokens 96 --json --context "$dir/front.py" "$dir/functions.jsonl.gz"
    cp "$dir/out" "$dir/first"
    succeeds "every item and one for all" sh -c "test $status = 0 && test ! -s '$dir/err' && test \$(wc -l <'$dir/out') = 4"
    succeeds "an item says what became of it" holds "all(set(l) == {'task_id', 'passed', 'reason', 'tokens', 'seconds'} and l['passed'] == (l['reason'] == 'passed') and 0 < l['tokens'] <= 96 for l in lines[:3])"
    succeeds "and its name cannot write to a terminal" holds "lines[0]['task_id'] == 'made/0' + chr(92) + 'x1b[2J'"
    succeeds "all together" holds "(lambda s, p: s['total'] == 3 and s['passed'] == p and abs(s['pass_at_1'] - p / 3) < 1e-9 and s['low'] <= s['pass_at_1'] <= s['high'] and s['policy'] == 'recall')(lines[3], sum(l['passed'] for l in lines[:3]))"
    succeeds "what stands in front is read once" holds "lines[3]['reused_tokens'] == 3 * lines[3]['context_tokens'] and lines[3]['context_tokens'] > 80"
    evaluate humaneval -m smol --max-tokens 96 --json --context "$dir/front.py" --limit 1 "$dir/functions.jsonl.gz"
    succeeds "asked alone, an item is answered as among others" holds "(lambda a, b: a['reason'] == b['reason'] and a['tokens'] == b['tokens'])(lines[0], of('first')[0])"
    "$kedge" cache ls >"$dir/out"
    succeeds "nothing but what stands in front is kept" sh -c "grep -q 'front.py' '$dir/out' && ! grep -qE ' (turn|answer) ' '$dir/out'"
    evaluate humaneval -m smol --max-tokens 8 --limit 1 --context "$dir/.env" "$dir/functions.jsonl.gz"
    succeeds "and nothing that looks secret" sh -c "test $status = 0 && ! '$kedge' cache ls | grep -q '[.]env'"
    succeeds "without --json a table" sh -c "grep -qE '^pass_at_1 .* of 1, 95 % interval' '$dir/out' && grep -q '^failed' '$dir/out'"
    for _ in $(seq 50); do gzip -dc "$dir/functions.jsonl.gz"; done >"$dir/many.jsonl"
    "$kedge" eval humaneval -m smol --max-tokens 64 --json "$dir/many.jsonl" >"$dir/lines" 2>"$dir/err" </dev/null &
    pid=$!
    for _ in $(seq 300); do [ -s "$dir/lines" ] && break; sleep 0.1; done
    kill -INT $pid
    wait $pid
    status=$?
    : >"$dir/out"
    succeeds "interrupted, it stops and says so" fails_with 1 "stopped after [0-9]* of 150 items"
    # no user namespaces inside of one that forbids them
    bwrap --bind / / --dev /dev --proc /proc --unshare-user --disable-userns "$kedge" eval humaneval -m smol "$dir/functions.jsonl.gz" \
        >"$dir/out" 2>"$dir/err" </dev/null
    status=$?
    succeeds "where there is no sandbox, nothing is asked and nothing run" fails_with 1 "run in a sandbox only"
    evaluate infill -m smol "$dir/lines.jsonl"
    succeeds "a model without fill-in-the-middle is refused" fails_with 1 "no tokens for fill-in-the-middle"
fi

if ! "$kedge" model path q05 >/dev/null 2>&1; then
    skip "lines" "the model q05 is not here: kedge model get q05"
else
    evaluate infill -m q05 --json --context "$dir/front.py" "$dir/lines.jsonl"
    succeeds "every line and one for all" sh -c "test $status = 0 && test ! -s '$dir/err' && test \$(wc -l <'$dir/out') = 4"
    succeeds "a line says what was filled in" holds "all(set(l) - {'line'} == {'task_id', 'passed', 'with_indentation', 'reason', 'tokens', 'seconds'} and l['tokens'] <= 64 for l in lines[:3])"
    succeeds "what nobody can guess does not match" holds "not lines[2]['passed'] and lines[2]['reason'] == 'another line'"
    succeeds "what stands in front is read once here, too" holds "lines[3]['reused_tokens'] == 3 * lines[3]['context_tokens'] and lines[3]['total'] == 3"
    evaluate infill -m q05 --json --bare "$dir/lines.jsonl"
    succeeds "a line that everybody can guess does" holds "lines[1]['passed'] and lines[1]['line'] == 'return a + b' and lines[3]['passed'] >= 1"
    succeeds "--bare leaves everything out" holds "lines[3]['reused_tokens'] == 0"
fi
echo "1..$n"
