/* Takes bytes that claim to be a model through everything that reads a model file. */
#ifndef KG_TESTS_GGUF_FUZZ_H
#define KG_TESTS_GGUF_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

/* kg_gguf_open, kg_tokenizer_create, kg_model_load, and where these went well a text and a forward pass. The first status that
 * is not KG_OK; aborts where an error has no text or device memory is left behind. */
enum kg_status gguf_try(const uint8_t *bytes, size_t length);

/* The entry of libFuzzer:  make BUILD=fuzz CC=clang fuzz-gguf */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#endif
