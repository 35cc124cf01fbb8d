#!/bin/sh
# --gpu-layers where no card computes: a notice says that it has no effect, and nothing else changes.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state
model=tests/golden/tiny/qwen2.gguf
run() { # command and arguments
    "$O/kedge" "$@" >"$dir/out" 2>"$dir/err"
}
told() { # command, layers: one line, that one
    [ "$(cat "$dir/err")" = "$1: --gpu-layers $2 has no effect: no card computes (see --device)" ]
}
ask() { # further arguments
    run -m $model --device cpu --policy full --no-cache --greedy -n 4 -p Say "$@"
}

ask && [ ! -s "$dir/err" ]
check 'nothing is told where nobody names layers' $? = 0
cp "$dir/out" "$dir/plain"
ask --gpu-layers 12 && told kedge 12 && cmp -s "$dir/out" "$dir/plain"
check 'a number of layers is told to have no effect' $? = 0
for layers in auto 0; do
    ask --gpu-layers $layers && [ ! -s "$dir/err" ]
    check "--gpu-layers $layers asks for nothing else" $? = 0
done
run bench -m $model --device cpu -p 0 -n 2 --gpu-layers 1 && told 'kedge bench' 1
check 'kedge bench tells it' $? = 0
echo text >"$dir/text"
run logits -m $model --device cpu --gpu-layers 1 "$dir/text" && told 'kedge logits' 1
check 'kedge logits tells it' $? = 0
run logits -m $model --device cpu --gpu-layers many "$dir/text"
[ $? = 2 ] && grep -q "'many' is no number of layers" "$dir/err"
check 'what is no number is refused without a card, too' $? = 0
exit $failed
