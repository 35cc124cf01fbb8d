#!/bin/sh
# What a worktree's files have in the cache: branches there and back, edits, renames, what files include; kedge cache show tells
# the same as what a reading computes.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state XDG_CONFIG_HOME=$dir/config KEDGE_MODEL=smol
unset GIT_DIR GIT_WORK_TREE
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
if ! "$kedge" model path smol >/dev/null 2>&1; then
    skip "branches" "the model smol is not here: kedge model get smol"
    exit 0
fi
files=40
[ "${CHECK_LONG:-0}" = 1 ] && files=200
repo=$dir/repo
git init -q -b one "$repo" && cd "$repo" || exit 1
write() { # branch
    for i in $(seq $files); do echo "int f$i = '$1';" >"f$i.c"; done
}
write a
printf '#define SIDE_MAX 4711\n' >area.h
printf '#include "area.h"\nint side = SIDE_MAX;\n' >area.c
git add . && git commit -qm one
git switch -qc two
write b
git commit -qam two

field() { sed -n "s/.*\"$1\":\([0-9]*\).*/\1/p"; }
reads() { "$kedge" index --read --tokens 1000000 --json 2>/dev/null | field computed_tokens; }
show() { "$kedge" cache show --json >"$dir/show"; }
row() { tr '{' '\n' <"$dir/show" | grep "\"path\":\"$1\"" | field "$2"; }
# of the whole worktree
total() { sed 's/"files":.*//' "$dir/show" | field "$1"; }

show
check "nothing is known at first" "$(total known)" = 0
first=$(reads)
show
check "all of a branch is read" "$first" -ge $((files * 8))
check "and then known" "$(total known)" = "$(total tokens)"
git switch -q one
show
check "of the other branch what is the same is known" "$(total known)" = $(($(row area.h known) + $(row area.c known)))
second=$(reads)
check "only what differs is read" "$second" -lt "$first"
git switch -q two
check "there and back computes 0 tokens" "$(reads)" = 0
git switch -q one
check "and there again" "$(reads)" = 0

mv f1.c renamed.c
git add -A
show
check "a renamed file is known" "$(row renamed.c known)" = "$(row renamed.c tokens)"
check "and not read" "$(reads)" = 0
echo 'int more;' >>f2.c
show
check "an edited file is not" "$(row f2.c known)" = 0
check "its tokens alone are read" "$(reads)" -le 30
git checkout -q f2.c
check "nor is it read again when the edit is taken back" "$(reads)" = 0
printf '#define SIDE_MAX 9999\n' >area.h
show
check "what includes an edited file is kept in an older reading" "$(row area.c older)" = "$(row area.c tokens)"
again=$(reads)
both=$(($(row area.c tokens) + $(row area.h tokens)))
check "both are read again" "$again" -ge $both -a "$again" -le $((both + 20))
show
check "and known then" "$(row area.c known)" = "$(row area.c tokens)"
"$kedge" -p "What is it?" --file area.c --file area.h -n 1 --stats >/dev/null 2>"$dir/stats"
check "a question finds it" "$(field computed_tokens <"$dir/stats")" -lt 60

"$kedge" cache off
"$kedge" -p "What is it?" --file area.c -n 1 --stats >/dev/null 2>"$dir/stats"
check "a cache that is off is not used" "$(field reused_tokens <"$dir/stats")" = 0
"$kedge" cache on
"$kedge" -p "What is it?" --file area.c -n 1 --stats >/dev/null 2>"$dir/stats"
check "one that is on is" "$(field reused_tokens <"$dir/stats")" -gt 10
check "a model is named" "$("$kedge" cache show -m smol --all | grep -c ' area.c$')" = 1
check "outside of a repository there is nothing to show" "$("$kedge" cache show -C "$dir" 2>&1 | grep -c 'kedge cache:')" = 1
