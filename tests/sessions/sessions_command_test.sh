#!/bin/sh
# kedge sessions on conversations that were really held.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state XDG_CONFIG_HOME=$dir/config KEDGE_MODEL=smol
unset GIT_DIR GIT_WORK_TREE
if ! "$kedge" model path smol >/dev/null 2>&1; then
    skip "kedge sessions" "the model smol is not here: kedge model get smol"
    exit 0
fi
mkdir "$dir/repo" "$dir/other" && git init -q "$dir/repo" && git init -q "$dir/other" && cd "$dir/repo" || exit 1
printf 'int parse_header(void) { return 4711; }\n' >header.c
sessions() { "$kedge" sessions "$@"; }
computed() { sed -n 's/.*"computed_tokens":\([0-9]*\).*/\1/p' "$dir/stats"; }
ask() { "$kedge" -p "$2" --session "$1" --file header.c --greedy -n 8 --stats >"$dir/out" 2>"$dir/stats"; }

check "there is none at first" "$(sessions ls | wc -l)" = 0
ask first "What does Zebra do?"
ask first "And the second?"
ask "second one" "Where is the giraffe?"
"$kedge" -C "$dir/other" -p "Where is the giraffe?" --session elsewhere --greedy -n 1 >/dev/null
check "the last used one is first" "$(sessions ls | head -1 | grep -c '1  second one .* Where is the giraffe?$')" = 1
check "questions are counted" "$(sessions ls | grep -c '2  first .* What does Zebra do?$')" = 1
check "of this repository" "$(sessions ls | wc -l)" = 2
check "or of all" "$(sessions ls --all | grep -c elsewhere.*other)" = 1
check "a part of a word is found in any case" "$(sessions search ZEBR | grep -c 'question  What does Zebra do')" = 1
check "all words must be there" "$(sessions search zebra giraffe | wc -l)" = 0
check "and nothing is failure" "$(sessions search zebra giraffe; echo $?)" = 1
check "a path is found" "$(sessions search header.c | grep -c '^    file      header.c')" = 2
check "a name is found" "$(sessions search 'second o' | grep -c 'second one')" = 1
check "in this repository" "$(sessions search giraffe --json | grep -o '"kind":"question"' | wc -l)" = 1
check "or in all" "$(sessions search giraffe --all --json | grep -o '"kind":"question"' | wc -l)" = 2
check "all of one is shown" "$(sessions show first | grep -cE '^(\[question\]|What does Zebra do\?|\[answer\]|And the second\?|\[file header.c\])$')" = 7
check "also as JSON" "$(sessions show first --json | grep -o '"kind":"[a-z]*"' | tr '\n' ' ' | sed 's/ $//')" = '"kind":"file" "kind":"question" "kind":"answer" "kind":"question" "kind":"answer"'

check "a fork gets a name" "$(sessions fork first)" = "first (2)"
check "or the one that is given" "$(sessions fork first branch)" = branch
check "it holds the same" "$(sessions show branch)" = "$(sessions show first)"
ask first "And the third?"
ask branch "And the third?"
check "a question in it reads nothing but itself" "$(computed)" -lt 25
check "and the first one is as it was" "$(sessions ls | grep -c ' 3  first ')" = 1

sessions rename branch "a new name"
check "one is renamed" "$(sessions show "a new name" | grep -c Zebra)" -ge 1
check "not to a name that is taken" "$(sessions rename first "a new name" 2>&1 | grep -c 'already')" = 1
check "nor to none" "$(sessions rename first "" 2>&1 | grep -c '1 to 127 bytes')" = 1
sessions rm first "first (2)"
check "two are deleted" "$(sessions ls | wc -l)" = 2
sessions rm "a new name"
check "nothing of it is found" "$(sessions search zebra | wc -l)" = 0
check "nor in the file" "$(grep -c Zebra "$dir/state/sessions.db")" = 0
check "one that is not there is told" "$(sessions rm nothing 2>&1 | grep -c "no session 'nothing'")" = 1
for wrong in "" "what" "ls more" "show" "rename one" "rm" "search" "show one two" "rm one --json" "show one --all"; do
    # shellcheck disable=SC2086 # words
    sessions $wrong >/dev/null 2>&1
    check "wrong usage: '$wrong'" $? = 2
done
