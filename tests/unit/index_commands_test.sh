#!/bin/sh
# kedge symbols, map and context on a small repository: what they print, as lines and as JSON, and how they end.
O=${O:-build}
kedge=$(realpath "$O/kedge")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
models=${KEDGE_MODELS:-${XDG_DATA_HOME:-$HOME/.local/share}/kedge/models}
export KEDGE_CACHE="$place/cache" HOME="$place" KEDGE_MODELS="$place/none"
unset XDG_CONFIG_HOME XDG_DATA_HOME
mkdir "$place/tree" && cd "$place/tree" && git -c init.defaultBranch=main init -q . || exit 1
printf '#include "tea.h"\n\nint steep_tea(int minutes)\n{\n    return minutes;\n}\n' >tea.c
printf 'int steep_tea(int minutes);\n' >tea.h
escape=$(printf '\033[31m')
printf 'int red;\n' >"red$escape.h"
number=0
# name, expected exit status, expected output, arguments
expect() {
    number=$((number + 1))
    name=$1 status=$2 wanted=$3
    shift 3
    if [ "$1" = json ]; then
        shift
        got=$("$kedge" context --json "$@" 2>"$place/errors")
        code=$?
        got=$(printf '%s' "$got" | sed 's/"score":[^,]*,"reason":"[^"]*",//')
        wanted=$(printf '%s' "$wanted" | sed "s/TOKENS/$("$kedge" tokenize -m smol tea.c 2>/dev/null | wc -w)/")
    else
        got=$("$kedge" "$@" 2>"$place/errors")
        code=$?
    fi
    if [ "$code" = "$status" ] && [ "$got" = "$wanted" ]; then echo "ok $number - $name"; else
        echo "not ok $number - $name"
        printf '%s (%s)\n' "$got" "$code" | cat - "$place/errors" | sed 's/^/# /'
    fi
}
expect "symbols of a query" 0 "tea.c:3 function steep_tea int steep_tea(int minutes)
tea.h:1 prototype steep_tea int steep_tea(int minutes)" symbols steep
expect "symbols of a file" 0 "tea.c:3 function steep_tea int steep_tea(int minutes)" symbols tea.c
expect "at most so many" 0 "tea.c:3 function steep_tea int steep_tea(int minutes)" symbols -n 1 tea
expect "no such symbol" 1 "" symbols nowhere
expect "names without escape sequences" 0 'red\x1b[31m.h:1 variable red int red' symbols red
expect "symbols as JSON" 0 '[{"path":"tea.h","line":1,"end":1,"kind":"prototype","name":"steep_tea","scope":"","signature":"int steep_tea(int minutes)"}]' symbols --json tea.h
expect "a map" 0 "tea.h:
     1  int steep_tea(int minutes)" map --tokens 14
expect "a map as JSON" 0 '[{"path":"tea.h","line":1,"kind":"prototype","name":"steep_tea","signature":"int steep_tea(int minutes)"}]' map --json --tokens 14
expect "context" 0 "tea.c  22 tokens  defines: steep_tea
tea.h  9 tokens  matches: steep_tea" context where is steep_tea implemented
expect "whole files" 0 "tea.c  22 tokens  defines: steep_tea" context -n 1 steep_tea
expect "context as JSON, without a model" 0 '[{"path":"tea.c","first":0,"last":0,"tokens":22,"cached":null}]' json -n 1 steep_tea
expect "a model that is not here" 1 "" context -m smol steep_tea
expect "an open file is left out" 0 "tea.h  9 tokens  matches: steep_tea" context --open tea.c where is steep_tea implemented
export KEDGE_MODELS="$models"
if "$kedge" model ls | grep -q '^smol .* here'; then
    expect "tokens by the model, none cached" 0 '[{"path":"tea.c","first":0,"last":0,"tokens":TOKENS,"cached":false}]' json -m smol -n 1 steep_tea
    "$kedge" index --read -m smol >/dev/null 2>&1
    expect "and all cached when it was read" 0 '[{"path":"tea.c","first":0,"last":0,"tokens":TOKENS,"cached":true}]' json -m smol -n 1 steep_tea
    echo '/* more */' >>tea.c
    expect "and not when it has changed" 0 '[{"path":"tea.c","first":0,"last":0,"tokens":TOKENS,"cached":false}]' json -m smol -n 1 steep_tea
else
    echo "ok - tokens and cache by a model # SKIP smol is not here"
fi
expect "no question" 2 "" context
expect "wrong tokens" 2 "" map --tokens none
expect "a directory that is none" 1 "" symbols -C /nonexistent
