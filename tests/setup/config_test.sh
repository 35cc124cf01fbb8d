#!/bin/sh
# config/kedge.conf and kedge.conf(5) agree with the table of options, and the program with both.
O=${O:-build}
number=0
check() {
    number=$((number + 1))
    name=$1
    shift
    if "$@" >"$place/said" 2>&1; then echo "ok $number - $name"; else
        echo "not ok $number - $name"
        sed 's/^/# /' "$place/said"
    fi
}
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
kedge=$(realpath "$O/kedge")
export XDG_CONFIG_HOME="$place/config" KEDGE_CACHE="$place/cache" KEDGE_STATE="$place/state"
unset KEDGE_MODEL
mkdir -p "$place/config/kedge" "$place/repo/.git/refs" "$place/repo/.git/objects"
echo 'ref: refs/heads/main' >"$place/repo/.git/HEAD"

"$kedge" config default >"$place/default"
check "config/kedge.conf is what kedge config default prints" diff "$place/default" config/kedge.conf

# Sections and options with their defaults, in order: of the program, and of the page (.Ss Section, .It Ic name = value).
sed -nE 's/^\[([a-z]+)\]$/[\1]/p; s/^#([a-z-]+) =( ?)/\1 =\2/p' "$place/default" >"$place/table"
sed -nE 's/^\.Ss \[([a-z]+)\]$/[\1]/p; s/^\.It Ic ([a-z-]+ =.*)$/\1/p' man/kedge.conf.5 >"$place/page"
check "kedge.conf.5 has every option with its default, in order" diff "$place/table" "$place/page"
check "what a repository may set is marked in kedge.conf.5" sh -c "test \"\$(grep -c 'A repository may set it' config/kedge.conf)\" = \"\$(grep -c 'A repository may set it' man/kedge.conf.5)\""
check "kedge.conf.5 is without trailing blanks" sh -c "! grep -n ' \$' man/kedge.conf.5"

says() { # file, text, then a command whose output holds the text
    text=$1
    shift
    "$@" >"$place/out" 2>&1
    cat "$place/out"
    grep -qF -- "$text" "$place/out"
}
fails() { ! "$@"; }
printf 'threads = 3\n[read]\nbudget = 7\n' >"$place/config/kedge/kedge.conf"
printf 'model = evil\n[read]\nbudget = 9\n' >"$place/repo/.kedge.conf"
check "kedge config names the person's file" says "threads = 3                    # $place/config/kedge/kedge.conf, line 1" "$kedge" config -C "$place/repo"
check "kedge config names the repository's" says "budget = 9                     # $place/repo/.kedge.conf, line 3" "$kedge" config -C "$place/repo"
check "and what it may not say" says ".kedge.conf, line 1: a repository cannot set model" "$kedge" config -C "$place/repo"
check "outside of it the person's counts" says "budget = 7" "$kedge" config -C "$place"
check "as JSON" says '"name":"threads","value":"3","default":"0"' "$kedge" config -C "$place/repo" --json
check "-p tells what the repository may not say" says "cannot set model" "$kedge" -C "$place/repo" -m "$place/default" -p x
check "--set is checked" says "--set: recall.k = 0: it may be a number from 1 to 4096" "$kedge" --set recall.k=0 -p x
check "an option is checked by the same table" says "-t: threads = 2000: it may be a number from 0 to 1024" "$kedge" -t 2000 -p x
echo 'threads = x' >"$place/config/kedge/kedge.conf"
check "a mistake in the person's file ends kedge" says "kedge.conf, line 1: threads = x: it may be a number from 0 to 1024" "$kedge" -C "$place/repo" -p x
check "and kedge config" fails "$kedge" config -C "$place/repo"
