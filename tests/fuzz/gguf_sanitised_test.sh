#!/bin/sh
# gguf_mutation_test once more, under AddressSanitizer and UndefinedBehaviorSanitizer, whatever this build is.
set -u
if [ "${BUILD:-release}" = asan ]; then
    echo "ok 1 - damaged model files, sanitised # SKIP this whole build is"
    exit 0
fi
if make -s -j2 BUILD=asan build/asan/gguf-mutations && CMOCKA_MESSAGE_OUTPUT=STDOUT build/asan/gguf-mutations; then
    echo "ok 1 - damaged model files, sanitised"
else
    echo "not ok 1 - damaged model files, sanitised"
    exit 1
fi
