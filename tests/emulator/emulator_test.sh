#!/bin/sh
# The emulator itself: kernels without a fault compute what the host computes, in three orders of threads; each planted
# fault is found in each order; what cannot be translated is refused.
set -u
O=${O:-build}
if ! make -s cuda-present 2>/dev/null; then
    echo "ok 1 - the emulator # SKIP nvcc is not here"
    exit 0
fi
make -s emulator-tests || { echo "not ok 1 - the emulator is built"; exit 1; }
kernels=$O/emulator/tests/emulator/kernels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0 failed=0
check() { # name, condition that holds
    n=$((n + 1))
    if [ "$2" = 0 ]; then echo "ok $n - $1"; else
        echo "not ok $n - $1"
        sed 's/^/# /' "$work/out" | tail -n 20
        failed=1
    fi
}

for order in forward reverse shuffle; do
    EMULATOR_ORDER=$order "$kernels/sound" >"$work/out" 2>&1
    check "kernels without a fault, $order" $?
    EMULATOR_ORDER=$order "$kernels/packed" >"$work/out" 2>&1
    check "planes of every type as plain C packs them, $order" $?
    missed=
    "$kernels/faulty" >"$work/list"
    while IFS='	' read -r name message; do
        EMULATOR_ORDER=$order "$kernels/faulty" "$name" >"$work/out" 2>&1
        result=$?
        if [ -z "$message" ]; then
            [ "$result" = 0 ] || missed="$missed, $name: $(cat "$work/out")"
        elif [ "$result" = 0 ] || ! grep -Eq "^emulator: .*($message)" "$work/out"; then
            missed="$missed, $name (status $result): $(cat "$work/out")"
        fi
    done <"$work/list" 2>/dev/null
    echo "missed$missed" >"$work/out"
    check "$(grep -c . "$work/list") kernels with and without a fault, $order" "$([ -z "$missed" ]; echo $?)"
done

# A kernel that the translator does not know in whole is no kernel.
refuse() { # name, PTX statements
    printf '.entry k()\n{\n.reg .b32 %%r<3>;\n.reg .f32 %%f<3>;\n%s\nret;\n}\n' "$2" >"$work/k.ptx"
    tests/emulator/ptx2cpp.py "$work/k.ptx" >"$work/out" 2>&1
    [ $? = 1 ] && grep -q 'not translated' "$work/out"
    check "refused: $1" $?
}
refuse 'an unknown instruction' 'nanosleep.u32 %r1;'
refuse 'an unknown modifier' 'add.rz.f32 %f1, %f1, %f2;'
refuse 'a call' 'call.uni function, (param);'
refuse 'a sum of floats in no fixed order' 'atom.global.add.f32 %f1, [%r1], %f2;'
printf '.global .align 4 .u32 variable;\n' >"$work/k.ptx"
tests/emulator/ptx2cpp.py "$work/k.ptx" >"$work/out" 2>&1
check "refused: a global variable" "$([ $? = 1 ]; echo $?)"
exit $failed
