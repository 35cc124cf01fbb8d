#!/bin/sh
# config/kedge.conf and kedge.conf(5) agree with the table of options, and the program with both.
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$(realpath "$O/kedge")
export XDG_CONFIG_HOME="$dir/config" KEDGE_CACHE="$dir/cache" KEDGE_STATE="$dir/state"
unset KEDGE_MODEL
mkdir -p "$dir/config/kedge" "$dir/repo/.git/refs" "$dir/repo/.git/objects"
echo 'ref: refs/heads/main' >"$dir/repo/.git/HEAD"

"$kedge" config default >"$dir/default"
succeeds "config/kedge.conf is what kedge config default prints" diff "$dir/default" config/kedge.conf

# Sections and options with their defaults, in order: of the program, and of the page (.Ss Section, .It Ic name = value).
sed -nE 's/^\[([a-z]+)\]$/[\1]/p; s/^#([a-z-]+) =( ?)/\1 =\2/p' "$dir/default" >"$dir/table"
sed -nE 's/^\.Ss \[([a-z]+)\]$/[\1]/p; s/^\.It Ic ([a-z-]+ =.*)$/\1/p' man/kedge.conf.5 >"$dir/page"
succeeds "kedge.conf.5 has every option with its default, in order" diff "$dir/table" "$dir/page"
succeeds "what a repository may set is marked in kedge.conf.5" sh -c "test \"\$(grep -c 'A repository may set it' config/kedge.conf)\" = \"\$(grep -c 'A repository may set it' man/kedge.conf.5)\""
succeeds "kedge.conf.5 is without trailing blanks" sh -c "! grep -n ' \$' man/kedge.conf.5"

says() { # file, text, then a command whose output holds the text
    text=$1
    shift
    "$@" >"$dir/out" 2>&1
    cat "$dir/out"
    grep -qF -- "$text" "$dir/out"
}
fails() { ! "$@"; }
printf 'threads = 3\n[read]\nbudget = 7\n' >"$dir/config/kedge/kedge.conf"
printf 'model = evil\n[read]\nbudget = 9\n' >"$dir/repo/.kedge.conf"
succeeds "kedge config names the person's file" says "threads = 3                    # $dir/config/kedge/kedge.conf, line 1" "$kedge" config -C "$dir/repo"
succeeds "kedge config names the repository's" says "budget = 9                     # $dir/repo/.kedge.conf, line 3" "$kedge" config -C "$dir/repo"
succeeds "and what it may not say" says ".kedge.conf, line 1: a repository cannot set model" "$kedge" config -C "$dir/repo"
succeeds "outside of it the person's counts" says "budget = 7" "$kedge" config -C "$dir"
succeeds "as JSON" says '"name":"threads","value":"3","default":"0"' "$kedge" config -C "$dir/repo" --json
succeeds "-p tells what the repository may not say" says "cannot set model" "$kedge" -C "$dir/repo" -m "$dir/default" -p x
succeeds "--set is checked" says "--set: recall.k = 0: it may be a number from 1 to 4096" "$kedge" --set recall.k=0 -p x
succeeds "an option is checked by the same table" says "-t: threads = 2000: it may be a number from 0 to 1024" "$kedge" -t 2000 -p x
echo 'threads = x' >"$dir/config/kedge/kedge.conf"
succeeds "a mistake in the person's file ends kedge" says "kedge.conf, line 1: threads = x: it may be a number from 0 to 1024" "$kedge" -C "$dir/repo" -p x
succeeds "and kedge config" fails "$kedge" config -C "$dir/repo"
