#!/bin/sh
# kedge bench: what is measured, at which depth, and how it was looked at.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
export KEDGE_CACHE="$dir/cache" KEDGE_STATE="$dir/state"
run() { # arguments
    "$O/kedge" bench -m "tests/golden/tiny/${model:-qwen3}.gguf" --device cpu -t 1 "$@" >"$dir/out" 2>"$dir/err"
}
tells() { # a line for each: test, tokens, depth, policy; a rate in all of them
    python3 - "$dir/out" "$@" <<'PY'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
told = [f"{line['test']} {line['tokens']} {line['depth']} {line['policy']}" for line in lines]
sys.exit(told != sys.argv[2:] or any(line["tokens_per_s"] <= 0 for line in lines))
PY
}

run -p 40 -n 2 && tells 'prefill 40 0 full' 'decode 2 0 recall'
check 'without a depth, reading looks at everything' $? = 0
run -p 40 -n 2 -d 300 && tells 'prefill 40 300 recall' 'decode 2 300 recall'
check 'reading and generating behind a depth look by the policy' $? = 0
run -p 40 -n 0 -d 300 --policy full && tells 'prefill 40 300 full'
check 'reading alone, in full' $? = 0
run -p 0 -n 2 -d 300 && tells 'decode 2 300 recall'
check 'generating alone' $? = 0
run -p 213 -n 2 -d 300
[ $? = 2 ] && [ ! -s "$dir/out" ] && grep -q '512 positions' "$dir/err"
check 'a depth that leaves no room is refused' $? = 0
run -p 212 -n 0 -d 300 && tells 'prefill 212 300 recall'
check 'one that leaves just as much is not' $? = 0
model=qwen2
run -p 40 -n 2 -d 300 && tells 'prefill 40 300 full' 'decode 2 300 full'
check 'keys without an index are all looked at, and that is said' $? = 0
exit $failed
