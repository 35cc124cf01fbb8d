#include "tests/unit/gguf_writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct gguf_pending {
    struct gguf_pending *next;
    size_t bytes;
    uint8_t data[];
};

static void *enough(void *old, size_t bytes)
{
    void *new = realloc(old, bytes);
    if (!new)
        abort();
    return new;
}

static void put(struct gguf_writer *w, enum gguf_field_kind kind, const void *bytes, size_t length)
{
    if (w->length + length > w->capacity) {
        w->capacity = 2 * (w->length + length);
        w->bytes = enough(w->bytes, w->capacity);
    }
    if (w->field_count == w->field_capacity) {
        w->field_capacity = 2 * w->field_capacity + 64;
        w->fields = enough(w->fields, w->field_capacity * sizeof *w->fields);
    }
    if (length) {
        w->fields[w->field_count++] = (struct gguf_field){ kind, w->length, length };
        memcpy(w->bytes + w->length, bytes, length);
    }
    w->length += length;
}

static void put_u32(struct gguf_writer *w, enum gguf_field_kind kind, uint32_t value)
{
    put(w, kind, &value, sizeof value);
}

static void put_u64(struct gguf_writer *w, enum gguf_field_kind kind, uint64_t value)
{
    put(w, kind, &value, sizeof value);
}

static void put_text(struct gguf_writer *w, enum gguf_field_kind kind, const char *text)
{
    put_u64(w, GGUF_FIELD_LENGTH, strlen(text));
    put(w, kind, text, strlen(text));
}

void gguf_start(struct gguf_writer *w, uint32_t version)
{
    *w = (struct gguf_writer){ .alignment = 32 };
    put(w, GGUF_FIELD_MAGIC, "GGUF", 4);
    put_u32(w, GGUF_FIELD_VERSION, version);
    put_u64(w, GGUF_FIELD_COUNT, 0);
    put_u64(w, GGUF_FIELD_COUNT, 0);
}

static void pad(struct gguf_writer *w)
{
    static const uint8_t zeros[65536];
    size_t over = w->length % w->alignment;
    if (over) {
        put(w, GGUF_FIELD_VALUE, zeros, w->alignment - over);
        w->field_count--; /* nobody reads it, so it is no field */
    }
}

void gguf_end(struct gguf_writer *w)
{
    memcpy(w->bytes + 8, &w->tensors, 8);
    memcpy(w->bytes + 16, &w->keys, 8);
    for (struct gguf_pending *p = w->pending; p;) {
        struct gguf_pending *next = p->next;
        pad(w);
        put(w, GGUF_FIELD_VALUE, p->data, p->bytes);
        w->field_count--;
        free(p);
        p = next;
    }
    w->pending = NULL;
    if (w->tensors)
        pad(w);
}

void gguf_free(struct gguf_writer *w)
{
    for (struct gguf_pending *p = w->pending; p;) {
        struct gguf_pending *next = p->next;
        free(p);
        p = next;
    }
    free(w->bytes);
    free(w->fields);
    *w = (struct gguf_writer){ 0 };
}

static void key(struct gguf_writer *w, const char *name, uint32_t type)
{
    put_text(w, GGUF_FIELD_NAME, name);
    put_u32(w, GGUF_FIELD_TYPE, type);
    w->keys++;
}

void gguf_raw(struct gguf_writer *w, const char *name, uint32_t type, const void *bytes, size_t length)
{
    key(w, name, type);
    put(w, GGUF_FIELD_VALUE, bytes, length);
}

void gguf_u32(struct gguf_writer *w, const char *name, uint32_t value)
{
    gguf_raw(w, name, 4, &value, sizeof value);
}

void gguf_f32(struct gguf_writer *w, const char *name, float value)
{
    gguf_raw(w, name, 6, &value, sizeof value);
}

void gguf_bool(struct gguf_writer *w, const char *name, int value)
{
    uint8_t byte = value != 0;
    gguf_raw(w, name, 7, &byte, 1);
}

void gguf_text(struct gguf_writer *w, const char *name, const char *value)
{
    key(w, name, 8);
    put_text(w, GGUF_FIELD_VALUE, value);
}

void gguf_texts(struct gguf_writer *w, const char *name, const char *const *values, size_t count)
{
    key(w, name, 9);
    put_u32(w, GGUF_FIELD_TYPE, 8);
    put_u64(w, GGUF_FIELD_COUNT, count);
    for (size_t i = 0; i < count; i++)
        put_text(w, GGUF_FIELD_VALUE, values[i]);
}

void gguf_i32s(struct gguf_writer *w, const char *name, const int32_t *values, size_t count)
{
    key(w, name, 9);
    put_u32(w, GGUF_FIELD_TYPE, 5);
    put_u64(w, GGUF_FIELD_COUNT, count);
    put(w, GGUF_FIELD_VALUE, values, count * sizeof *values);
}

void gguf_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint64_t cols, uint64_t rows, const void *data, size_t bytes)
{
    put_text(w, GGUF_FIELD_NAME, name);
    put_u32(w, GGUF_FIELD_COUNT, rows ? 2 : 1);
    put_u64(w, GGUF_FIELD_DIMENSION, cols);
    if (rows)
        put_u64(w, GGUF_FIELD_DIMENSION, rows);
    put_u32(w, GGUF_FIELD_TYPE, type);
    put_u64(w, GGUF_FIELD_OFFSET, w->data);
    w->tensors++;
    w->data += (bytes + w->alignment - 1) / w->alignment * w->alignment;
    struct gguf_pending *p = enough(NULL, sizeof *p + bytes);
    p->next = NULL;
    p->bytes = bytes;
    memcpy(p->data, data, bytes);
    struct gguf_pending **last = &w->pending;
    while (*last)
        last = &(*last)->next;
    *last = p;
}

void gguf_to_file(const void *bytes, size_t length, char *path)
{
    strcpy(path, "/tmp/kedge-test-XXXXXX");
    int fd = mkstemp(path);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        abort();
}
