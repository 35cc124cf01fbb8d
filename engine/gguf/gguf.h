/* A GGUF file: metadata and tensors, mapped and checked (GGUF specification, versions 2 and 3, little endian).
 *
 * Every offset, size, count and string is checked against the file before kg_gguf_open returns; what it
 * returns can be read without further checks as long as the file keeps its length. If somebody truncates
 * the file while it is mapped, reads yield zeros instead of SIGBUS and kg_gguf_intact reports it.
 * Strings are not NUL-terminated in the file; those handed out as `const char *` are copies that are.
 */
#ifndef KG_ENGINE_GGUF_H
#define KG_ENGINE_GGUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "kernels/backend.h"

struct kg_gguf;

struct kg_gguf_text {
    const char *bytes; /* into the mapping, not terminated */
    size_t length;
};

struct kg_gguf_tensor {
    const char *name; /* NUL-terminated copy, no control bytes */
    enum kg_type type;
    uint32_t cols, rows; /* dims[0], product of the others; rows 1 for a vector */
    const void *data;    /* into the mapping */
    size_t bytes;
};

enum kg_status kg_gguf_open(const char *path, struct kg_gguf **out, struct kg_error *err);
void kg_gguf_close(struct kg_gguf *file);
const char *kg_gguf_path(const struct kg_gguf *file);
size_t kg_gguf_bytes(const struct kg_gguf *file);

/* KG_ERR_CHANGED once a read of the mapping has failed because the file was truncated. */
enum kg_status kg_gguf_intact(const struct kg_gguf *file, struct kg_error *err);

/* Tells the system that the tensor's pages are not needed any more (they can be read again). */
void kg_gguf_forget(const struct kg_gguf *file, const struct kg_gguf_tensor *tensor);

/* Metadata. `has` is true for any type. The getters: KG_ERR_NOT_FOUND if absent, KG_ERR_FORMAT if of another
 * type or not representable; integers of any width are accepted where they fit, floats of either width. */
bool kg_gguf_has(const struct kg_gguf *file, const char *key);
enum kg_status kg_gguf_get_u32(const struct kg_gguf *file, const char *key, uint32_t *out, struct kg_error *err);
enum kg_status kg_gguf_get_f64(const struct kg_gguf *file, const char *key, double *out, struct kg_error *err);
enum kg_status kg_gguf_get_bool(const struct kg_gguf *file, const char *key, bool *out, struct kg_error *err);
enum kg_status kg_gguf_get_text(const struct kg_gguf *file, const char *key, struct kg_gguf_text *out, struct kg_error *err);

/* Arrays. The count, then elements by index (index < count); a text array is indexed in O(1). */
enum kg_status kg_gguf_array_count(const struct kg_gguf *file, const char *key, size_t *out, struct kg_error *err);
enum kg_status kg_gguf_array_text(const struct kg_gguf *file, const char *key, size_t index, struct kg_gguf_text *out, struct kg_error *err);
enum kg_status kg_gguf_array_i64(const struct kg_gguf *file, const char *key, size_t index, int64_t *out, struct kg_error *err);
enum kg_status kg_gguf_array_f64(const struct kg_gguf *file, const char *key, size_t index, double *out, struct kg_error *err);

/* All keys, for the check that none that changes the mathematics is ignored. */
size_t kg_gguf_keys(const struct kg_gguf *file);
const char *kg_gguf_key(const struct kg_gguf *file, size_t index);

size_t kg_gguf_tensors(const struct kg_gguf *file);
const struct kg_gguf_tensor *kg_gguf_tensor_at(const struct kg_gguf *file, size_t index);
const struct kg_gguf_tensor *kg_gguf_tensor_find(const struct kg_gguf *file, const char *name); /* NULL if absent */

#endif
