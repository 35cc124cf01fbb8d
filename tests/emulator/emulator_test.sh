#!/bin/sh
# The emulator itself: kernels without a fault compute what the host computes, in three orders of threads; each planted
# fault is found in each order; what cannot be translated is refused.
set -u
. "$(dirname "$0")/../tap.sh"
O=${O:-build}
if ! make -s cuda-present 2>/dev/null; then
    skip "the emulator" "nvcc is not here"
    exit 0
fi
make -s emulator-tests || { echo "not ok 1 - the emulator is built"; exit 1; }
kernels=$O/emulator/tests/emulator/kernels

for order in forward reverse shuffle; do
    EMULATOR_ORDER=$order "$kernels/sound" >"$dir/out" 2>&1
    check "kernels without a fault, $order" $? = 0
    EMULATOR_ORDER=$order "$kernels/packed" >"$dir/out" 2>&1
    check "planes of every type as plain C packs them, $order" $? = 0
    missed=
    "$kernels/faulty" >"$dir/list"
    while IFS='	' read -r name message; do
        EMULATOR_ORDER=$order "$kernels/faulty" "$name" >"$dir/out" 2>&1
        result=$?
        if [ -z "$message" ]; then
            [ "$result" = 0 ] || missed="$missed, $name: $(cat "$dir/out")"
        elif [ "$result" = 0 ] || ! grep -Eq "^emulator: .*($message)" "$dir/out"; then
            missed="$missed, $name (status $result): $(cat "$dir/out")"
        fi
    done <"$dir/list" 2>/dev/null
    echo "missed$missed" >"$dir/out"
    check "$(grep -c . "$dir/list") kernels with and without a fault, $order" -z "$missed"
done

# A kernel that the translator does not know in whole is no kernel.
refuse() { # name, PTX statements
    printf '.entry k()\n{\n.reg .b32 %%r<3>;\n.reg .f32 %%f<3>;\n%s\nret;\n}\n' "$2" >"$dir/k.ptx"
    tests/emulator/ptx2cpp.py "$dir/k.ptx" >"$dir/out" 2>&1
    [ $? = 1 ] && grep -q 'not translated' "$dir/out"
    check "refused: $1" $? = 0
}
refuse 'an unknown instruction' 'nanosleep.u32 %r1;'
refuse 'an unknown modifier' 'add.rz.f32 %f1, %f1, %f2;'
refuse 'a call' 'call.uni function, (param);'
refuse 'a sum of floats in no fixed order' 'atom.global.add.f32 %f1, [%r1], %f2;'
printf '.global .align 4 .u32 variable;\n' >"$dir/k.ptx"
tests/emulator/ptx2cpp.py "$dir/k.ptx" >"$dir/out" 2>&1
check "refused: a global variable" $? = 1
exit $failed
