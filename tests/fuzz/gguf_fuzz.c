#include "tests/fuzz/gguf_fuzz.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/model/model.h"
#include "engine/tokenizer/tokenizer.h"

static void must_be(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "fuzz: %s\n", what);
        abort();
    }
}

static void check_error(enum kg_status status, const struct kg_error *err)
{
    if (status == KG_OK)
        return;
    must_be(err->status == status, "the error holds another status");
    must_be(err->text[0] != '\0', "the error has no text");
    for (const char *p = err->text; *p; p++)
        must_be((unsigned char)*p >= 0x20 && *p != 0x7f, "the error's text holds a control byte");
}

static enum kg_status try_tokenizer(const struct kg_gguf *file, struct kg_error *err)
{
    static const char text[] = "the thing\n\t<|im_end|> th\xc3\xa9 \xff 123";
    struct kg_tokenizer *tokenizer = NULL;
    struct kg_ids ids = { 0 };
    enum kg_status status = kg_tokenizer_create(file, &tokenizer, err);
    for (int special = 0; special < 2 && status == KG_OK; special++)
        status = kg_tokenize(tokenizer, text, sizeof text - 1, special != 0, &ids, err);
    for (size_t i = 0; i < ids.count && status == KG_OK; i++) {
        size_t length;
        must_be(ids.ids[i] >= 0 && (uint32_t)ids.ids[i] < kg_vocabulary(tokenizer), "an id is outside of the vocabulary");
        must_be(kg_token_bytes(tokenizer, ids.ids[i], true, &length) != NULL, "a token has no bytes");
    }
    kg_ids_free(&ids);
    kg_tokenizer_free(tokenizer);
    return status;
}

/* A model that was accepted must run. */
static enum kg_status try_forward(struct kg_model *model, struct kg_device *device, struct kg_error *err)
{
    const struct kg_model_shape *shape = kg_model_shape(model);
    const int32_t ids[3] = { 0, (int32_t)shape->vocabulary - 1, (int32_t)(shape->vocabulary / 2) };
    const uint32_t page = 0, rows = shape->trained_length < 3 ? shape->trained_length : 3;
    struct kg_span self = { .pages = &page, .tokens = rows };
    struct kg_pass pass = { .ids = ids, .rows = rows, .pages = &page, .spans = &self, .span_count = 1, .logits_from = rows - 1 };
    struct kg_kv *kv = NULL;
    float *logits = calloc(shape->vocabulary, sizeof *logits);
    must_be(logits != NULL, "out of memory");
    enum kg_status status = kg_backend_ref.kv_create(device, &shape->kv, &kv, err);
    if (status == KG_OK)
        status = kg_backend_ref.kv_reserve(device, kv, 1, err);
    if (status == KG_OK)
        status = kg_model_forward(model, kv, &pass, logits, err);
    kg_backend_ref.kv_free(device, kv);
    free(logits);
    return status;
}

static enum kg_status try_model(const struct kg_gguf *file, struct kg_error *err)
{
    struct kg_device_options options = { 0 };
    struct kg_device *device = NULL;
    struct kg_model *model = NULL;
    enum kg_status status = kg_backend_ref.open(&options, &device, err);
    must_be(status == KG_OK, "the device cannot be opened");
    status = kg_model_load(file, &kg_backend_ref, device, NULL, NULL, &model, err);
    if (status == KG_OK)
        status = try_forward(model, device, err);
    kg_model_free(model);
    must_be(kg_backend_ref.memory(device) == 0, "device memory is left behind");
    kg_backend_ref.close(device);
    return status;
}

enum kg_status gguf_try(const uint8_t *bytes, size_t length)
{
    char path[64];
    struct kg_gguf *file = NULL;
    struct kg_error err = { .status = KG_OK, .text = "" };
    int fd = memfd_create("model", MFD_CLOEXEC);
    must_be(fd >= 0 && write(fd, bytes, length) == (ssize_t)length, "no file in memory");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    enum kg_status status = kg_gguf_open(path, &file, &err);
    close(fd);
    if (status == KG_OK) {
        enum kg_status tokenizer = try_tokenizer(file, &err);
        check_error(tokenizer, &err);
        status = try_model(file, &err);
        check_error(status, &err);
        status = tokenizer != KG_OK ? tokenizer : status;
    } else {
        check_error(status, &err);
        must_be(file == NULL, "a file is left open");
    }
    kg_gguf_close(file);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    (void)gguf_try(bytes, length);
    return 0;
}
