#!/bin/sh
# What words may become, and that bash, zsh and fish (where they are here) are told so.
O=${O:-build}
number=0
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
mkdir "$place/bin"
ln -s "$(realpath "$O/kedge")" "$place/bin/kedge"
PATH="$place/bin:$PATH"
export PATH HOME="$place" XDG_CONFIG_HOME="$place/config"

# name, expected lines (spaces for newlines), a command
gives() {
    number=$((number + 1))
    name=$1 expected=$2
    shift 2
    got=$("$@" 2>"$place/errors" | cut -f1 | tr '\n' ' ' | sed 's/ $//')
    if [ "$got" = "$expected" ]; then echo "ok $number - $name"; else
        echo "not ok $number - $name"
        echo "# expected: $expected"
        echo "# got:      $got"
        sed 's/^/# /' "$place/errors"
    fi
}
words() { kedge completion words "$@"; }
commands=$(kedge --help | sed -n '/^commands:/,$s/^  \([a-z]*\) .*/\1/p' | tr '\n' ' ' | sed 's/ $//')
gives "every command" "$commands" words ""
gives "a command that begins so" "model" words mo
gives "subcommands" "ls get path" words model ""
gives "models" "q15 q05 smol" words model get ""
gives "no models behind ls" "" words model ls ""
gives "values of an option" "smol" words -m s
gives "policies" "$(kedge config --json | tr '{' '\n' | sed -n 's/.*"name":"policy".*"allowed":"\([^"]*\)".*/\1/p' | sed 's/,//g; s/ or / /')" words --policy ""
gives "settings" "recall.window= recall.k= recall.bits=" words --set rec
gives "what keys and values are kept as" "f16 q8_0" words --kv ""
gives "values of a setting" "cache.off=yes cache.off=no" words --set cache.off=
gives "options of a command" "--json --all --model" words cache --
gives "options that begin so" "--temperature --top-k --top-p --threads" words --t
gives "a file: nothing" "" words --file ""
gives "subcommands of sessions" "ls search show rename fork rm" words sessions ""
KEDGE_STATE=$place/state
export KEDGE_STATE
cd "$place" || exit 1
gives "conversations, when there are none" "" words --session ""
gives "which makes no file" "0" sh -c 'ls "$KEDGE_STATE" 2>/dev/null | wc -l'
# one with a question, as sessions.db holds it
have_sessions() {
    command -v python3 >/dev/null && kedge sessions ls && python3 - "$KEDGE_STATE/sessions.db" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
for name in ("a talk", "another", "evil\x1b[31m"):
    db.execute("INSERT INTO session(repository, name, model, created, used) VALUES('', ?, 'm', 1, 1)", (name,))
db.commit()
PYTHON
}
if have_sessions; then
    gives "conversations" "another a talk" words --session a
    gives "also behind a subcommand" "another" words sessions rm an
    gives "but not to search for" "" words sessions search a
fi
for command in $commands; do
    gives "options of $command are those of its help" "$(kedge "$command" --help | grep -oE -- '(^|[[ ,(|])--[a-zA-Z][a-z-]*' | tr -d ' ,([|' | awk '!seen[$0]++' | tr '\n' ' ' | sed 's/ $//')" \
        words "$command" --
done

skip() {
    number=$((number + 1))
    echo "ok $number - $1 # SKIP it is not here"
}
in_bash() {
    bash --norc -c 'eval "$(kedge completion bash)"; COMP_LINE=$1 COMP_POINT=${#1}; _kedge; printf "%s\n" "${COMPREPLY[@]}"' bash "$1"
}
if command -v bash >/dev/null; then
    [ -s "$KEDGE_STATE/sessions.db" ] && gives "bash: a blank is quoted" 'another a\ talk' in_bash "kedge --session a"
    gives "bash: a command" "model" in_bash "kedge mo"
    gives "bash: behind a blank" "ls get path" in_bash "kedge model "
    gives "bash: values behind an equals sign" "1 2 4" in_bash "kedge --set recall.bits="
else
    skip "bash completes"
fi
in_fish() { fish --no-config -c 'kedge completion fish | source; complete -C $argv[1]' "$1"; }
if command -v fish >/dev/null; then
    gives "fish: a command" "model" in_fish "kedge mo"
    gives "fish: behind a blank" "get ls path" in_fish "kedge model "
    gives "fish: values behind an equals sign" "recall.bits=1 recall.bits=2 recall.bits=4" in_fish "kedge --set recall.bits="
else
    skip "fish completes"
fi
# _describe works inside of zsh's editor only: what it is given is looked at.
in_zsh() {
    zsh -f -c 'compdef() { }; _files() { print files }; _describe() { print -l -- "${found[@]%%:*}" }
        eval "$(kedge completion zsh)"; words=("${@[@]}"); CURRENT=$#words; _kedge' zsh "$@"
}
if command -v zsh >/dev/null; then
    gives "zsh: a command" "model" in_zsh kedge mo
    gives "zsh: behind a blank" "ls get path" in_zsh kedge model ""
    gives "zsh: values" "q15 q05" in_zsh kedge -m q
    gives "zsh: files" "files" in_zsh kedge --file ""
else
    skip "zsh completes"
fi
