#!/bin/sh
# kedge edit: answers that were written down, in every form, printed, written, taken back; and those of a real model.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
kedge=$PWD/$O/kedge
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state XDG_CONFIG_HOME=$dir/config GIT_CONFIG_GLOBAL=/dev/null
edit() {
    "$kedge" edit -C "$dir/repo" "$@" >"$dir/out" 2>"$dir/err" </dev/null
    status=$?
}
answer() { cat >"$dir/answer"; } # standard input
fresh() { # the repository as it was
    rm -rf "$dir/repo" "$dir/was" "$dir/state"
    mkdir "$dir/repo"
    git -c init.defaultBranch=main init -q "$dir/repo"
    printf '#include "area.h"\n\nint area(int a, int b)\n{\n    return a * b;\n}\n\nint twice(int a)\n{\n    return 2 * a;\n}\n' >"$dir/repo/area.c"
    printf '#ifndef AREA_H\n#define AREA_H\n\nint area(int a, int b);\nint twice(int a);\n\n#endif\n' >"$dir/repo/area.h"
    printf 'all:\n\tcc area.c\n' >"$dir/repo/Makefile"
    chmod 640 "$dir/repo/area.c"
    cp -r "$dir/repo" "$dir/was"
}
same() { diff -r "$dir/was" "$dir/repo" >/dev/null && echo same; }
holds() { grep -c -e "$2" "$dir/repo/$1"; }

fresh
block='area.c
```
<<<<<<< SEARCH
int area(int a, int b)
{
    return a * b;
=======
int area(int a, int b)
{
    return a < 0 ? 0 : a * b;
>>>>>>> REPLACE
```'
echo "$block" | answer
edit --form search --from "$dir/answer" "refuse negative sides" area.c
check "a block is printed as a difference, and nothing is written" "$status $(grep -c '^+    return a < 0' "$dir/out") $(same)" = "0 1 same"
(cd "$dir/repo" && git apply "$dir/out")
check "git applies it" "$(holds area.c 'a < 0')" = 1
fresh
iconv -t UTF-16 "$dir/was/area.c" >"$dir/repo/area.c"
cp "$dir/repo/area.c" "$dir/was/area.c"
for how in --print --apply; do
    edit --form search --from "$dir/answer" $how "refuse negative sides" area.c
    check "$how of a file in UTF-16 is refused" "$status $(wc -c <"$dir/out") $(grep -c 'area.c is in UTF-16' "$dir/err") $(same)" = "1 0 1 same"
done
edit --from "$dir/nowhere" "refuse negative sides" area.c
check "and no answer is asked for" "$status $(grep -c 'area.c is in UTF-16' "$dir/err")" = "1 1"
edit --form search --from "$dir/answer" "refuse negative sides" area.c area.h
check "unless it is there to be looked at" "$status $(grep -c 'area.c is in UTF-16' "$dir/err") $(same)" = "1 1 same"
"$kedge" complete --print "$dir/repo/area.c:1:1" >"$dir/out" 2>"$dir/err"
check "nor is it completed" "$? $(wc -c <"$dir/out") $(grep -c 'area.c is in UTF-16' "$dir/err")" = "1 0 1"
fresh
edit --form search --from "$dir/answer" --apply "refuse negative sides" area.c
check "applied, it is written, and the mode is kept" "$status $(cat "$dir/out") $(holds area.c 'a < 0') $(stat -c %a "$dir/repo/area.c")" = "0 changed area.c 1 640"
edit --form search --from "$dir/answer" --apply "refuse negative sides" area.c
check "a second time what it looks for is not there" "$status $(grep -c 'are not in area.c' "$dir/err") $(holds area.c 'a < 0')" = "1 1 1"
edit --undo
check "it is taken back" "$status $(cat "$dir/out") $(same)" = "0 area.c same"
edit --undo
check "and there is nothing more to take back" "$status $(grep -c 'no change to undo' "$dir/err")" = "1 1"
edit --redo
check "and made again" "$status $(cat "$dir/out") $(holds area.c 'a < 0')" = "0 area.c 1"
echo '/* by hand */' >>"$dir/repo/area.c"
edit --undo
check "not over what somebody wrote since" "$status $(grep -c 'area.c has changed meanwhile' "$dir/err") $(holds area.c 'by hand')" = "1 1 1"

fresh
printf 'area.c\n```c\nint twice(int a)\n{\n    return a + a;\n}\n```\n' | answer
edit --form definition --from "$dir/answer" --apply "add" area.c area.h
check "a definition takes the place of its own" "$status $(holds area.c 'a + a') $(holds area.c 'a \* b')" = "0 1 1"
fresh
{ printf 'area.h\n```c\n'; sed 's/twice/double_of/' "$dir/repo/area.h"; printf '```\n\narea.c\n```c\n'; sed 's/twice/double_of/' "$dir/repo/area.c"; printf '```\n'; } | answer
edit --form file --from "$dir/answer" --apply "rename" area.c area.h
check "whole files, several at once" "$status $(holds area.c double_of) $(holds area.h double_of)" = "0 1 1"
edit --undo
check "taken back together" "$status $(sort "$dir/out" | tr '\n' ' ')$(same)" = "0 area.c area.h same"
printf '```\nint area(int a, int b)\n{\n    return b * a;\n}\n```\n' | answer
edit --from "$dir/answer" --form region --apply "turn" area.c:3-6
check "lines are written anew" "$status $(holds area.c 'b \* a') $(holds area.c twice)" = "0 1 1"
edit --undo
edit --from "$dir/answer" --form region "turn" area.c:3-60
check "lines that are not there" "$status $(grep -c 'area.c has 11 lines, not 60' "$dir/err") $(same)" = "2 1 same"
edit --from "$dir/answer" --form region "turn" area.c
check "a region needs lines" "$status $(same)" = "2 same"
edit --from "$dir/answer" --form places "turn" area.c
check "one answer is none for many places" "$status $(grep -c -e '--from' "$dir/err")" = "2 1"

printf 'new/deep/file.c\n```\n<<<<<<< SEARCH\n=======\nint made;\n>>>>>>> REPLACE\n```\n' | answer
edit --form search --from "$dir/answer" --apply "make it" area.c
check "a new file gets its folders" "$status $(cat "$dir/out") $(holds new/deep/file.c made)" = "0 new new/deep/file.c 1"
edit --undo
check "which go with it" "$status $(same)" = "0 same"
printf 'Makefile\n```\n<<<<<<< SEARCH\n\tcc area.c\n=======\n\tcc -O2 area.c\n>>>>>>> REPLACE\n```\n%s\n' "$block" | answer
edit --form search --from "$dir/answer" --apply "quick" area.c Makefile
check "what runs unasked is not written, nor what comes with it" "$status $(grep -c 'Makefile is run by make' "$dir/err") $(same)" = "1 1 same"
for path in ../out.c /tmp/kedge-out.c .git/hooks/post-commit .GIT/config .kedge.conf; do
    printf '%s\n```\n<<<<<<< SEARCH\n=======\nint made;\n>>>>>>> REPLACE\n```\n' "$path" | answer
    edit --form search --from "$dir/answer" --apply "make it" area.c
    check "nothing is written to $path" "$status $(wc -l <"$dir/err") $(same) $(test -e "$dir/out.c" -o -e /tmp/kedge-out.c && echo there)" = "1 1 same "
done
echo "$block" | head -n 8 | answer
edit --form search --from "$dir/answer" --apply "refuse negative sides" area.c
check "a block without an end is none" "$status $(same)" = "1 same"
echo 'I cannot do that.' | answer
edit --from "$dir/answer" --form search "what" area.c
check "an answer without an edit" "$status $(grep -c 'no edit in the answer' "$dir/err")" = "1 1"
edit "what"
check "wrong usage: no file" "$status" = 2
edit --undo "what" area.c
check "wrong usage: --undo with a request" "$status" = 2
edit --form fly "what" area.c
check "wrong usage: a form that is none" "$status $(grep -c 'places' "$dir/err")" = "2 1"
edit --from "$dir/answer" --form search "what" "$dir/was/area.c"
check "a file outside of the repository" "$status $(grep -c 'lies outside' "$dir/err")" = "2 1"

if ! "$kedge" model path smol >/dev/null 2>&1; then
    skip "a model's answers" "the model smol is not here: kedge model get smol"
    exit $failed
fi
for form in search definition file places; do
    edit -m smol -n 48 --form $form --answer "rename twice to double_of" area.c area.h
    check "a small model's answer in the form $form writes nothing by itself" "$(test $status -le 1 && same)" = same
    check "it is shown, or one line says why not: $form" "$(if [ $status = 0 ]; then grep -c '^--- a/area' "$dir/out"; else grep -c '^kedge edit: ' "$dir/err"; fi)" -ge 1
done
check "places asks about each" "$(grep -c '^area.[ch]:[0-9]*-[0-9]*$' "$dir/err")" -ge 1
edit -m smol -n 48 --answer --apply "give back b times a" area.c:3-6
cp "$dir/repo/area.c" "$dir/now"
[ $status = 0 ] && edit --undo
check "lines by a small model: written and taken back, or refused" "$status $(same)" = "$status same"
"$kedge" edit -C "$dir/repo" -m smol -n 4000 --form file --answer --apply "write a very long comment of a thousand lines" area.c >"$dir/out" 2>"$dir/err" </dev/null &
pid=$!
for _ in $(seq 300); do [ -s "$dir/err" ] && break; sleep 0.1; done
kill -INT $pid
wait $pid
check "stopped, it changes nothing" "$? $(same)" = "1 same"
exit $failed
