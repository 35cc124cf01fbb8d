/* Writes GGUF files in memory for tests, and remembers where every field lies so that it can be damaged on purpose. */
#ifndef KG_TESTS_GGUF_WRITER_H
#define KG_TESTS_GGUF_WRITER_H

#include <stddef.h>
#include <stdint.h>

enum gguf_field_kind {
    GGUF_FIELD_MAGIC,
    GGUF_FIELD_VERSION,
    GGUF_FIELD_COUNT,     /* of tensors, of keys, of an array's elements, of dimensions */
    GGUF_FIELD_LENGTH,    /* of a key, a name or a text */
    GGUF_FIELD_DIMENSION,
    GGUF_FIELD_OFFSET,
    GGUF_FIELD_TYPE,      /* of a value, an element or a tensor */
    GGUF_FIELD_NAME,      /* bytes of a key or of a tensor's name */
    GGUF_FIELD_VALUE      /* a scalar, a text's bytes, an array's numbers */
};

struct gguf_field {
    enum gguf_field_kind kind;
    size_t at, bytes;
};

struct gguf_writer {
    uint8_t *bytes;
    size_t length, capacity;
    struct gguf_field *fields;
    size_t field_count, field_capacity;
    uint64_t tensors, keys, data;
    uint32_t alignment;
    struct gguf_pending *pending; /* tensors whose data are still to be written */
};

/* Start, all keys, all tensors, end; then bytes[0 .. length-1] is the file. */
void gguf_start(struct gguf_writer *w, uint32_t version);
void gguf_end(struct gguf_writer *w);
void gguf_free(struct gguf_writer *w);

void gguf_u32(struct gguf_writer *w, const char *key, uint32_t value);
void gguf_f32(struct gguf_writer *w, const char *key, float value);
void gguf_bool(struct gguf_writer *w, const char *key, int value);
void gguf_text(struct gguf_writer *w, const char *key, const char *value);
void gguf_texts(struct gguf_writer *w, const char *key, const char *const *values, size_t count);
void gguf_i32s(struct gguf_writer *w, const char *key, const int32_t *values, size_t count);
/* Any other value: its type number and its bytes as they are to stand in the file. */
void gguf_raw(struct gguf_writer *w, const char *key, uint32_t type, const void *bytes, size_t length);

/* rows 0: a vector of cols. The data are copied. */
void gguf_tensor(struct gguf_writer *w, const char *name, uint32_t type, uint64_t cols, uint64_t rows, const void *data, size_t bytes);

/* Writes bytes to a new temporary file; path gets its name (at least 64 bytes), which the caller unlinks. */
void gguf_to_file(const void *bytes, size_t length, char *path);

#endif
