#!/bin/sh
# kedge eval edit: the tasks prove themselves, made ones are refused for what is wrong with them, a real model answers.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
tasks=$PWD/tests/eval/edit
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state
edit() {
    "$kedge" eval edit "$@" >"$dir/out" 2>"$dir/err" </dev/null
    status=$?
}
# exit status, then 1 when the one line of standard error holds the words
said() { echo "$status $(grep -c -e "kedge eval edit: .*$1" "$dir/err") $(wc -l <"$dir/err")"; }
has() { grep -l "^$1: $2\$" "$tasks"/*.task | wc -l; }

check "there are at least 60 tasks" "$(ls "$tasks"/*.task | wc -l)" -ge 60
for language in c python javascript; do check "a third of them in $language" "$(has language $language)" -ge 20; done
for kind in rename parameter bug case; do check "a quarter of them of the kind $kind" "$(has kind $kind)" -ge 15; done
# shellcheck disable=SC2016 # awk's own
check "each is a project of 1 to 4 files and 30 to 200 lines" "$(awk '
    function close_task() { if (name && (files < 1 || files > 4 || lines < 30 || lines > 200)) print name, files, lines }
    FNR == 1 { close_task(); name = FILENAME; files = lines = 0; in_project = 0 }
    /^-- .* --$/ { in_project = $2 != "check.sh" && $2 !~ /^check\// && $2 != "solution.patch"; files += in_project; next }
    in_project { lines++ }
    END { close_task() }' "$tasks"/*.task)" = ""

# A task of one Python file; a command of the check, a line that the solution puts in place of the second one.
made() { # name, command, line
    cat >"$dir/$1.task" <<T
language: python
kind: case
region: a.py 1-2

Add a third word, "three", to the list.
-- a.py --
words = ["one",
         "two"]
-- check.sh --
$2
-- solution.patch --
--- a/a.py
+++ b/a.py
@@ -1,2 +1,2 @@
 words = ["one",
-         "two"]
+$3
T
}
edit --validate "$tasks/nothing"
check "a folder that is not there" "$(said nothing)" = "1 1 1"
edit --validate "$dir"
check "a folder without tasks" "$(said "holds no .task files")" = "1 1 1"
for wrong in "" "a b" "--form fly a" "--form search,search a" "--limit 0 a" "--half 3 a" "--limit x a" "--colour a"; do
    # shellcheck disable=SC2086 # words
    edit $wrong
    check "wrong usage is exit status 2: eval edit $wrong" "$status $(wc -l <"$dir/err")" = "2 1"
done
broken() { # what is wrong, sed script, word of the message
    made broken true '         "two", "three"]'
    sed -i "$2" "$dir/broken.task"
    edit --validate "$dir/broken.task"
    check "$1 is refused" "$(said "task broken.*$3")" = "1 1 1"
}
broken "a task without a check" 's/^-- check.sh --/-- other.sh --/' "check.sh"
broken "a task without a language" '/^language/d' "a language"
broken "a task without a solution" '/^-- solution/,$d' "solution.patch"
broken "a task without files" 's/^-- a.py --/-- check\/a.py --/' "region"
broken "a region beyond the file" 's/1-2/1-3/' "region"
broken "a region of another file" 's/region: a.py/region: b.py/' "region"
broken "a kind that nobody knows" 's/kind: case/kind: fly/' "fly"
broken "a path that leads out" 's/^-- a.py --/-- ..\/a.py --/' "no path"
broken "an absolute path" 's/^-- a.py --/-- \/tmp\/a.py --/' "no path"
broken "a file that is there twice" 's/^-- check.sh --/-- a.py --/' "twice"
rm "$dir/broken.task"

made good 'python3 -c "import a; assert a.words[2:] == [\"three\"]"' '         "two", "three"]'
edit --validate "$dir"
if [ $status != 0 ] && grep -q -e sandbox -e 'install it' "$dir/err"; then
    skip "tasks prove themselves" "$(cat "$dir/err")"
    echo "1..$n"
    exit $failed
fi
check "a good task is valid" "$status $(cat "$dir/out")" = "0 1 of 1 tasks are valid"
made idle 'true' '         "two", "three"]'
made weak 'python3 -c "import a; assert a.words[2:] == [\"three\"]"' '         "two", "four"]'
edit --validate "$dir"
check "one whose check always holds is not, nor one whose solution is none" "$status $(grep -c -e '^idle: its check holds for the files' \
    -e '^weak: its check does not hold for its solution: AssertionError' -e '^1 of 3 tasks are valid' "$dir/out")" = "1 3"
for half in 1 2; do edit --validate --half $half "$dir"; cat "$dir/out" >>"$dir/halves"; done
check "two halves are all of them, none twice" "$(grep -c 'of [12] tasks are valid' "$dir/halves") $(grep -cE '^(idle|weak):' "$dir/halves")" = "2 2"
made alien true '         "two", "three"]'
sed -i 's/^ words = /-words = /' "$dir/alien.task"
edit --validate "$dir/alien.task"
check "a solution that does not fit is said so" "$(said "task alien: its solution does not fit")" = "1 1 1"
made slow 'while :; do :; done' '         "two", "three"]'
sed -i 's/^while.*/python3 -c "print(1)"; kill -9 $PPID/' "$dir/slow.task"
edit --validate "$dir/slow.task"
check "a check cannot end what watches it" "$(grep -c '^slow: its check does not hold' "$dir/out")" = 1
rm -f "$dir"/*.task

if ! command -v /usr/bin/node >/dev/null; then
    mkdir "$dir/tasks"
    cp "$tasks"/c-*.task "$tasks"/py-*.task "$dir/tasks"
    skip "tasks in JavaScript" "there is no node: apt-get install nodejs"
    tasks=$dir/tasks
fi
edit --validate "$tasks"
count=$(ls "$tasks"/*.task | wc -l)
check "every task's check fails before and holds for its solution" "$status $(tail -n 1 "$dir/out")" = "0 $count of $count tasks are valid"

if ! "$kedge" model path q05 >/dev/null 2>&1; then
    skip "answers" "the model q05 is not here: kedge model get q05"
    echo "1..$n"
    exit $failed
fi
# The same answers, twice: where whatever is written passes, and where nothing does.
mkdir "$dir/yes" "$dir/no" "$dir/answers"
made yes true '         "two", "three"]'
mv "$dir/yes.task" "$dir/yes/t.task"
sed 's/^true$/false/' "$dir/yes/t.task" >"$dir/no/t.task"
edit -m q05 --json --max-tokens 96 --answers "$dir/answers" "$dir/yes"
cp "$dir/out" "$dir/right"
check "an object an answer and one a form" "$status $(wc -l <"$dir/out")" = "0 10"
check "answers are kept" "$(ls "$dir/answers" | tr '\n' ' ')" = "t.definition.txt t.file.txt t.places.txt t.region.txt t.search.txt "
edit -m q05 --json --max-tokens 96 "$dir/no"
check "the same answers to the same questions" "$(python3 - "$dir/right" "$dir/out" <<'PY'
import json, sys
yes, no = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
assert [a["form"] for a in yes[:5]] == ["search", "definition", "file", "region", "places"]
for a, b in zip(yes[:5], no[:5]):
    assert set(a) == {"task", "language", "kind", "form", "outcome", "reason", "fuzzy", "tokens", "computed_tokens", "seconds"}
    assert a["tokens"] == b["tokens"] and 0 < a["tokens"] <= 96, (a, b)
    assert (a["outcome"], b["outcome"]) in (("right", "wrong"), ("refused", "refused")), (a, b)
    assert a["outcome"] != "refused" or a["reason"] == b["reason"], (a, b)
for a, s in zip(yes[:5], yes[5:]):
    assert s["form"] == a["form"] and s["total"] == s["right"] + s["refused"] + s["wrong"] == 1 and s[a["outcome"]] == 1
    assert s["share"] == s["right"] and s["right_of"] == {"python": [s["right"], 1], "case": [s["right"], 1]}
assert sum(s["default"] for s in yes[5:]) == 1
assert any(a["outcome"] == "right" for a in yes[:5]), yes
print("same")
PY
)" = same
edit -m q05 --form region --max-tokens 8 --limit 1 "$dir/yes"
check "an answer that is cut off writes nothing; without --json a table" "$status $(grep -c '^region  *0  *1  *0 ' "$dir/out")" = "0 1"
for i in $(seq 40); do cp "$dir/yes/t.task" "$dir/yes/t$i.task"; done
"$kedge" eval edit -m q05 --json --max-tokens 64 "$dir/yes" >"$dir/lines" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 300); do [ -s "$dir/lines" ] && break; sleep 0.1; done
kill -INT $pid
wait $pid
status=$?
check "interrupted, it stops and says so" "$(said "stopped after [0-9]* of 41 tasks")" = "1 1 1"
echo "1..$n"
exit $failed
