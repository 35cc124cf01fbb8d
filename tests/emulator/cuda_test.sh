#!/bin/sh
# The CUDA backend in the emulator: the conformance suite of all backends and recall (programs with different orders of threads;
# CHECK_LONG=1: all with each order), and calls of the CUDA runtime failing in turn.
# The backend for the hardware is compiled.
set -u
O=${O:-build}
if ! make -s cuda-present 2>/dev/null; then
    echo "ok 1 - the CUDA backend in the emulator # SKIP nvcc is not here"
    exit 0
fi
make -s -j2 cuda-tests || { echo "not ok 1 - the CUDA backend is built for the emulator"; exit 1; }
E=$O/emulator
export KEDGE_CUDA=$E/libkedge-cuda.so CONFORMANCE_BACKEND=cuda
case $KEDGE_CUDA in /*) ;; *) KEDGE_CUDA=$PWD/$KEDGE_CUDA ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 failed=0
report() { # name, result, log
    n=$((n + 1))
    if [ "$2" = 0 ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1 (status $2)"
        sed 's/^/# /' "$3" | tail -n 20
        failed=1
    fi
}

# Two programs at a time.
run() { # part, order
    EMULATOR_ORDER=$2 "$E/tests/unit/kernels_conformance_$1_test" >"$work/$1-$2" 2>&1
    echo $? >"$work/$1-$2.status"
}
suite() { # part:order ...
    for case in "$@"; do run "${case%:*}" "${case#*:}"; done
}
if [ "${CHECK_LONG:-0}" = 1 ]; then
    first='step:forward step:reverse step:shuffle kv:reverse rows:forward rows:shuffle matmul:forward choice:forward choice:shuffle chosen:reverse index:reverse'
    second='attend:forward attend:reverse attend:shuffle kv:forward kv:shuffle rows:reverse matmul:reverse matmul:shuffle choice:reverse chosen:forward chosen:shuffle index:forward index:shuffle'
    unset CHECK_LONG # the orders are long enough
else
    first='step:shuffle kv:reverse rows:forward matmul:forward index:forward' second='attend:reverse choice:shuffle chosen:reverse'
fi
# shellcheck disable=SC2086 # one word a case
suite $first &
suite $second
wait
for case in $first $second; do
    log=$work/${case%:*}-${case#*:}
    report "against ref: ${case%:*}, ${case#*:}" "$(cat "$log.status")" "$log"
done

# Whole models: every architecture that there is, a prompt and 16 decoded tokens.
for model in tests/golden/tiny/*.gguf; do
    "$E/tests/emulator/cuda/model" "$model" "${model%.gguf}.json" >"$work/out" 2>&1
    report "$(basename "$model" .gguf) follows ref" $? "$work/out"
done

# The same model on the CPU and the card together, every way to share out its layers.
for first in 0 1; do
    CPU_LAYERS=$first "$E/tests/emulator/cuda/model" tests/golden/tiny/qwen3.gguf tests/golden/tiny/qwen3.json >"$work/out" 2>&1
    report "a model follows ref with its first $first of 2 layers on the CPU" $? "$work/out"
done

# Decoding is one graph that is launched again and again, whichever way a token is looked at, and the host waits once for each; one
# more graph is for the tokens with which a page becomes full. What the graph computes has the bits of launches one by one.
asked() { # name of a number
    awk -v name="$1" '$1 == "host" { for (i = 2; i < NF; i += 2) if ($i == name) print $(i + 1) }' "$work/counters"
}
tokens=64
for look in full recall; do
    rm -f "$work/counters"
    { EMULATOR_COUNTERS="$work/counters" "$E/tests/emulator/cuda/steps" tests/golden/tiny/qwen2.gguf $look step $tokens | grep ^logits
      "$E/tests/emulator/cuda/steps" tests/golden/tiny/qwen2.gguf $look apart $tokens | grep ^logits
      cat "$work/counters"; } >"$work/out" 2>&1
    [ "$(grep -c ^logits "$work/out")" = 2 ] && [ "$(grep ^logits "$work/out" | sort -u | wc -l)" = 1 ]
    report "a graph computes what launches compute, $look" $? "$work/out"
    [ "$(asked graphs)" -le 2 ] && [ "$(asked graph_launches)" -ge $((tokens - 4)) ] && [ "$(asked amended)" -le $((tokens / 2)) ] &&
        [ "$(asked synchronised)" -le $((tokens + 4)) ]
    report "$tokens tokens by two graphs at most, $look" $? "$work/out"
    { EMULATOR_MAJOR=9 "$E/tests/emulator/cuda/steps" tests/golden/tiny/qwen2.gguf $look step 20 | grep ^logits
      "$E/tests/emulator/cuda/steps" tests/golden/tiny/qwen2.gguf $look apart 20 | grep ^logits; } >"$work/out" 2>&1
    [ "$(grep -c ^logits "$work/out")" = 2 ] && [ "$(grep ^logits "$work/out" | sort -u | wc -l)" = 1 ]
    report "a graph whose kernels are put in place early, $look" $? "$work/out"
done

# Behind the first one, of a token that is generated two ids and their logits are fetched, where the best one is taken.
fetched_for() { # tokens
    rm -f "$work/counters"
    EMULATOR_COUNTERS="$work/counters" KEDGE_CACHE="$work/cache" KEDGE_STATE="$work/state" "$O/kedge" -m tests/golden/tiny/qwen2.gguf --device cuda \
        --no-cache --set generate.drafts=no --policy full --greedy -n "$1" -p Say >"$work/out" 2>&1 && asked fetched
}
few=$(fetched_for 8) && many=$(fetched_for 40)
result=$?
echo "$few bytes for 8 tokens, $many for 40" >>"$work/out"
[ $result = 0 ] && [ $((many - few)) = $((32 * 2 * 8)) ]
report 'a token comes from the card without all its logits' $? "$work/out"

# Of several rows at once, those of guessed tokens, the best are found as well: the answer is the one without guesses.
guess() { # yes or no
    KEDGE_CACHE="$work/cache" KEDGE_STATE="$work/state" "$O/kedge" -m tests/golden/tiny/qwen3.gguf --device cuda --no-cache --set generate.drafts="$1" \
        --policy full --greedy -n 60 --stats -p 'Say Say Say Say' >"$work/guess-$1" 2>"$work/out"
}
guess no && guess yes && grep -q '"draft_hits":[1-9]' "$work/out" && cmp "$work/guess-no" "$work/guess-yes" >>"$work/out" 2>&1
report 'guessed tokens change no answer' $? "$work/out"

# A card that has room for weights and indexes only: keys and values lie in host memory, and recall reads few of them there.
host_bytes() { # but for those of weights, which come by way of host memory
    awk '!/kg_pack/ { for (i = 2; i < NF; i += 2) if ($i == "host") n += $(i + 1) } END { printf "%.0f", n }' "$work/counters"
}
memory=1000000 result=1
while [ $memory -gt 600000 ]; do
    rm -f "$work/counters"
    EMULATOR_COUNTERS="$work/counters" EMULATOR_MEMORY=$memory "$E/tests/emulator/cuda/model" tests/golden/tiny/qwen2.gguf tests/golden/tiny/qwen2.json >"$work/out" 2>&1
    result=$?
    [ $result = 0 ] && [ "$(host_bytes)" != 0 ] && break
    result=1 memory=$((memory - 20000))
done
report 'a model whose keys and values lie in host memory follows ref' $result "$work/out"
rm -f "$work/counters"
EMULATOR_COUNTERS="$work/counters" EMULATOR_MEMORY=30000000 "$E/tests/emulator/cuda/decode" 1536 12 2 128 8960 32768 recall >"$work/out" 2>&1
result=$?
read=$(host_bytes) all=$((32768 * 2 * 2 * 128 * 2)) # of one layer
echo "$read of $all bytes" >>"$work/out"
[ $result = 0 ] && [ "$read" -gt 0 ] && [ "$read" -lt $((all / 20)) ]
report 'recall reads under 5 % of them' $? "$work/out"

# The program chooses: a card that holds the model, else the CPU; what was asked for is never replaced.
bench() { # memory of the card, device
    EMULATOR_MEMORY=$1 "$O/kedge" bench -m tests/golden/tiny/qwen2.gguf -p 0 -n 4 --device "$2" >"$work/out" 2>&1
}
bench 100000000 best && grep -q '"device":"CUDA, emulated device' "$work/out"
report 'the best device is the card' $? "$work/out"
bench 100000 best && grep -q '"device":"CPU' "$work/out"
report 'a card that is too small: the CPU' $? "$work/out"
bench 100000 cuda
[ $? = 1 ] && grep -q 'CUDA' "$work/out"
report 'a card that is too small and was asked for' $? "$work/out"
bench 100000000 cuda:1
[ $? = 2 ] && grep -q 'there is no CUDA device 1' "$work/out"
report 'a card that is not there' $? "$work/out"

# What the card has no room for, the CPU computes, and a notice says so; what was read one way serves that way only.
EMULATOR_MEMORY=900000 "$O/kedge" bench -m tests/golden/tiny/qwen2.gguf -p 0 -n 4 --device cuda >"$work/out" 2>&1 &&
    grep -q '"device":"CUDA, emulated device, [0-9.]* GiB for 1 of 2 layers; CPU' "$work/out"
report 'layers that do not fit go to the CPU' $? "$work/out"
ask() { # memory of the card, layers, further arguments...
    memory=$1 layers=$2
    shift 2
    EMULATOR_MEMORY=$memory KEDGE_CACHE="$work/cache" KEDGE_STATE="$work/state" "$O/kedge" -m tests/golden/tiny/qwen2.gguf --device cuda \
        --gpu-layers "$layers" --greedy -n 4 --stats -p Say --file "$work/text" "$@" >"$work/out" 2>&1
}
seq 1 40 >"$work/text"
ask 100000000 1 && grep -q '"reused_tokens":0,' "$work/out" && grep -q '^kedge: the card computes 1 of 2 layers, the CPU the others' "$work/out"
report 'layers go to the CPU as a person says, with a notice' $? "$work/out"
ask 100000000 1 && grep -q '"reused_tokens":[1-9][0-9][0-9],' "$work/out"
report 'blocks of both come from the cache' $? "$work/out"
ask 100000000 2 && grep -q '"reused_tokens":0,' "$work/out" && ! grep -q 'the CPU' "$work/out"
report 'but not for another number of layers' $? "$work/out"
ask 100000000 0 --no-cache && ! grep -q 'the card' "$work/out"
report 'no layer on the card' $? "$work/out"
ask 100000000 many
[ $? = 2 ] && grep -q 'gpu-layers = many: it may be auto or N' "$work/out"
report 'no number of layers' $? "$work/out"
ask 900000 2 --no-cache && grep -q 'the keys and values of 0 tokens; those of more lie in this machine' "$work/out"
report 'a notice that keys and values lie in host memory' $? "$work/out"

# For the hardware: every architecture, with warnings, spilled registers and local memory as errors.
make -s -j2 cuda >"$work/out" 2>&1
report "compiles for every architecture" $? "$work/out"

# A call that fails: one message, no crash, no memory kept.
fail() { # name, EMULATOR_FAIL, pattern of the message
    EMULATOR_FAIL=$2 "$E/tests/emulator/cuda/failures" >"$work/out" 2>&1
    result=$?
    [ $result = 1 ] && grep -Eq "$3" "$work/out" && [ "$(grep -c . "$work/out")" = 1 ]
    report "$1" $? "$work/out"
}
"$E/tests/emulator/cuda/failures" >"$work/out" 2>&1
report "nothing fails" $? "$work/out"
fail 'no device' 'cudaGetDeviceCount 1 100' '^not supported: no CUDA device can be used'
fail 'a driver that is too old' 'cudaGetDeviceCount 1 35' '^not supported: .*driver version is insufficient'
fail 'no memory to begin with' 'cudaMalloc 1 2' '^out of memory: CUDA: opening the device'
for call in 2 3 4 5 6 7 8 9 10; do
    fail "no memory at call $call" "cudaMalloc $call 2" '^out of memory: '
done
fail 'no memory while computing' 'cudaMalloc 11 2' '^out of memory: .*compute on the CPU'
fail 'no pinned memory' 'cudaMallocHost 1 2' '^out of memory: CUDA: pinning'
fail 'no stream' 'cudaStreamCreateWithFlags 1 2' '^out of memory: CUDA: opening a stream'
fail 'a kernel that does not start' 'cudaLaunchKernel 1 98' '^input or output failed: CUDA: .*failed'
fail 'another one' 'cudaLaunchKernel 3 98' '^input or output failed: CUDA: .*failed'
fail 'a copy that fails' 'cudaMemcpyAsync 2 1' '^input or output failed: CUDA: copying to the device failed'
fail 'a device that is lost' 'cudaStreamSynchronize 1 700' '^input or output failed: CUDA: computing failed: an illegal memory access'

# The same as a person meets them: the CPU where nobody asked for the card, else an end with one message and status 1. A driver
# that makes no graphs, or changes none, is no failure.
meet() { # name, EMULATOR_FAIL, device, status, pattern of what is told, lines of it
    EMULATOR_FAIL=$2 "$O/kedge" -m tests/golden/tiny/qwen2.gguf --no-cache --greedy -n 8 --device "$3" -p Say >"$work/out" 2>&1
    result=$?
    [ $result = "$4" ] && grep -aEq "kedge: $5" "$work/out" && [ "$(grep -ac "kedge: .*CUDA" "$work/out")" = "$6" ]
    report "$1, --device $3" $? "$work/out"
}
unset EMULATOR_FAIL
export KEDGE_CACHE="$work/cache" KEDGE_STATE="$work/state"
meet 'no device' 'cudaGetDeviceCount 1 100' best 0 'computing on the CPU: no CUDA device can be used: no CUDA-capable device' 1
meet 'no device' 'cudaGetDeviceCount 1 100' cuda 1 'no CUDA device can be used: no CUDA-capable device' 1
meet 'a driver that is too old' 'cudaGetDeviceCount 1 35' best 0 'computing on the CPU: .*driver version is insufficient .*install a driver' 1
meet 'a driver that is too old' 'cudaGetDeviceCount 1 35' cuda 1 'no CUDA device can be used: .*driver version is insufficient' 1
meet 'no memory for the weights' 'cudaMalloc 12 2' best 0 'computing on the CPU: CUDA: .* failed: out of memory' 1
meet 'no memory for the weights' 'cudaMalloc 12 2' cuda 1 'CUDA: .* failed: out of memory; close other programs' 1
meet 'no memory for what is read' 'cudaMalloc 40 2' cuda 1 'CUDA: adding pages of keys and values failed: out of memory; close' 1
meet 'a device that is lost before an answer' 'cudaStreamSynchronize 2 700' cuda 1 'CUDA: computing failed: an illegal memory access was encountered; start again' 1
meet 'a device that is lost within an answer' 'cudaGraphLaunch 2 700' cuda 1 'CUDA: computing failed: an illegal memory access was encountered; start again' 1
meet 'no graphs' 'cudaGraphInstantiate 1 2' cuda 0 'no recall' 0
meet 'graphs that stay as they are' 'cudaGraphExecKernelNodeSetParams 1 1' cuda 0 'no recall' 0
for fault in 'cudaGraphInstantiate 1 2' 'cudaGraphExecKernelNodeSetParams 1 1' 'cudaGraphAddKernelNode 9 2' 'cudaGraphAddDependencies 1 1'; do
    { EMULATOR_MAJOR=9 EMULATOR_FAIL=$fault "$E/tests/emulator/cuda/steps" tests/golden/tiny/qwen2.gguf full step 20 | grep ^logits
      "$E/tests/emulator/cuda/steps" tests/golden/tiny/qwen2.gguf full apart 20 | grep ^logits; } >"$work/out" 2>&1
    [ "$(grep -c ^logits "$work/out")" = 2 ] && [ "$(grep ^logits "$work/out" | sort -u | wc -l)" = 1 ]
    report "the same logits with a failing ${fault%% *}" $? "$work/out"
done
EMULATOR_MEMORY=2000000 "$E/tests/emulator/cuda/failures" >"$work/out" 2>&1
[ $? = 0 ] && EMULATOR_MEMORY=15000 "$E/tests/emulator/cuda/failures" >"$work/out" 2>&1
[ $? = 1 ] && grep -q '^out of memory: ' "$work/out"
report 'a device that is too small' $? "$work/out"
EMULATOR_MEMORY=2000000 "$E/tests/emulator/cuda/grow" >"$work/out" 2>&1
report 'a context that grows on a full card moves to host memory and keeps what it holds' $? "$work/out"

share=$(tests/emulator/roofline.py "$E/tests/emulator/cuda/decode" --recall-share 2>&1)
echo "$share" >"$work/out"
awk -v share="$share" 'BEGIN { exit !(share > 0.01 && share < 0.11) }'
result=$?
percent=$(awk -v share="$share" 'BEGIN { printf "%.1f", 100 * share }')
report "recall reads $percent % of the keys and values at 32k tokens, index included: under 11 %" $result "$work/out"
exit $failed
