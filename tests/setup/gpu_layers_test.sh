#!/bin/sh
# --gpu-layers where no card computes: a notice says that it has no effect, and nothing else changes.
set -u
O=${O:-build}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export KEDGE_CACHE=$dir/cache KEDGE_STATE=$dir/state
model=tests/golden/tiny/qwen2.gguf
n=0 failed=0
check() { # name, result
    n=$((n + 1))
    if [ "$2" = 0 ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1"
        sed 's/^/# /' "$dir/out" "$dir/err"
        failed=1
    fi
}
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
check 'nothing is told where nobody names layers' $?
cp "$dir/out" "$dir/plain"
ask --gpu-layers 12 && told kedge 12 && cmp -s "$dir/out" "$dir/plain"
check 'a number of layers is told to have no effect' $?
for layers in auto 0; do
    ask --gpu-layers $layers && [ ! -s "$dir/err" ]
    check "--gpu-layers $layers asks for nothing else" $?
done
run bench -m $model --device cpu -p 0 -n 2 --gpu-layers 1 && told 'kedge bench' 1
check 'kedge bench tells it' $?
echo text >"$dir/text"
run logits -m $model --device cpu --gpu-layers 1 "$dir/text" && told 'kedge logits' 1
check 'kedge logits tells it' $?
run logits -m $model --device cpu --gpu-layers many "$dir/text"
[ $? = 2 ] && grep -q "'many' is no number of layers" "$dir/err"
check 'what is no number is refused without a card, too' $?
exit $failed
