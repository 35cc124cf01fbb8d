#!/bin/sh
# What a repository may say: patterns of files to leave out, and instructions, which join a conversation under its own name.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state XDG_CONFIG_HOME=$dir/config KEDGE_MODEL=smol
unset GIT_DIR GIT_WORK_TREE
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
repo=$dir/repo
git init -q "$repo" && mkdir "$repo/made" "$repo/src" && cd "$repo" || exit 1
printf 'int zebra_made;\n' >made/a.c
printf 'int zebra_table;\n' >src/zebra.tab.c
printf 'int zebra;\n' >src/zebra.c
git add . && git commit -qm one
found() { "$kedge" search zebra "$@" 2>/dev/null | cut -d: -f1 | sort | tr '\n' ' ' | sed 's/ $//'; }
check "all files are found at first" "$(found)" = "made/a.c src/zebra.c src/zebra.tab.c"
printf '[read]\nignore = /made *.tab.c\n' >.kedge.conf
check "a repository leaves out what it names, though git tracks it" "$(found)" = "src/zebra.c"
printf '[read]\nignore = !src *.tab.c\n' >.kedge.conf
check "and takes it in again" "$(found)" = "made/a.c src/zebra.c"
rm .kedge.conf
mkdir -p "$dir/config/kedge" && printf '[read]\nignore = src/\n' >"$dir/config/kedge/kedge.conf"
check "so does the person" "$(found)" = "made/a.c"
check "and kedge config says so" "$("$kedge" config --json | grep -o '"name":"ignore","value":"src/"')" = '"name":"ignore","value":"src/"'
rm "$dir/config/kedge/kedge.conf"

if ! "$kedge" model path smol >/dev/null 2>&1; then
    skip "instructions of a repository" "the model smol is not here: kedge model get smol"
    exit 0
fi
ask() {
    session=$1
    shift
    "$kedge" -p "What is there?" --session "$session" --greedy -n 1 "$@" >/dev/null 2>"$dir/errors"
}
joined() { "$kedge" sessions show "$1" | sed -n 's/^\[file \(.*\)\]$/\1/p' | tr '\n' ' ' | sed 's/ $//'; }
ask none
check "without a file nothing joins" "$(joined none)" = ""
echo "Use British spelling." >CONVENTIONS.md
ask first
check "CONVENTIONS.md joins" "$(joined first)" = "CONVENTIONS.md"
echo "Use tabs." >AGENTS.md
ask second --file src/zebra.c
check "AGENTS.md instead, before what is named" "$(joined second)" = "AGENTS.md src/zebra.c"
ask first
check "a conversation that has begun stays as it is" "$(joined first)" = "CONVENTIONS.md"
ask off --set read.instructions=no
check "a person says no" "$(joined off)" = ""
printf '[read]\ninstructions = yes\n' >.kedge.conf
ask forced --set read.instructions=no
check "and a repository cannot say yes" "$(joined forced)" = ""
check "but is told" "$(grep -c 'a repository cannot set read.instructions' "$dir/errors")" = 1
rm .kedge.conf AGENTS.md
ln -s /etc/hostname AGENTS.md
ask link
check "a link is not followed" "$(joined link | grep -c AGENTS.md)" = 0
rm AGENTS.md
head -c 40000 /dev/zero | tr '\0' 'x' >AGENTS.md
ask long
check "a long one is not read by itself" "$(joined long)" = ""
check "which is told" "$(grep -c 'AGENTS.md was not read' "$dir/errors")" = 1
