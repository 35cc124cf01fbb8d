#!/bin/sh
# kedge symbols, map and context on a small repository: what they print, as lines and as JSON, and how they end.
O=${O:-build}
kedge=$(realpath "$O/kedge")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export KEDGE_CACHE="$place/cache" HOME="$place"
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
    got=$("$kedge" "$@" 2>"$place/errors")
    code=$?
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
expect "a map" 0 "tea.c:
     3  int steep_tea(int minutes)" map --tokens 14
expect "a map as JSON" 0 '[{"path":"tea.c","line":3,"kind":"function","name":"steep_tea","signature":"int steep_tea(int minutes)"}]' map --json --tokens 14
expect "context" 0 "tea.c  22 tokens  defines: steep_tea
tea.h  9 tokens  matches: steep_tea" context where is steep_tea implemented
expect "whole files" 0 "tea.c  22 tokens  defines: steep_tea" context -n 1 steep_tea
expect "no question" 2 "" context
expect "wrong tokens" 2 "" map --tokens none
expect "a directory that is none" 1 "" symbols -C /nonexistent
