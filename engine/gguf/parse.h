/* Private to engine/gguf: what an opened file holds, and the checked walk over its bytes. */
#ifndef KG_ENGINE_GGUF_PARSE_H
#define KG_ENGINE_GGUF_PARSE_H

#include "engine/gguf/gguf.h"
#include "engine/gguf/mapping.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are copied from a little-endian file as they are");

/* Numbers are those of the specification. */
enum kg_gguf_value {
    KG_GGUF_U8, KG_GGUF_I8, KG_GGUF_U16, KG_GGUF_I16, KG_GGUF_U32, KG_GGUF_I32, KG_GGUF_F32,
    KG_GGUF_BOOL, KG_GGUF_TEXT, KG_GGUF_ARRAY, KG_GGUF_U64, KG_GGUF_I64, KG_GGUF_F64,
    KG_GGUF_VALUES
};

/* One key and where its value lies. A text array holds where each text starts, so that text i is
 * texts[i] .. texts[i + 1] - 8 (8 bytes of the next one's length); both count from `values`. The lengths in the file are never
 * read again: somebody may write to it. */
struct kg_gguf_entry {
    char *key;
    const uint8_t *values; /* a text's bytes, an array's first element */
    uint32_t *texts;       /* count + 1, NULL unless an array of texts */
    size_t count;          /* of elements; 1 for a scalar, the length of a text */
    uint8_t type;          /* KG_GGUF_ARRAY when an array */
    uint8_t element;       /* of the elements; equal to type for a scalar */
};

struct kg_gguf {
    char *path;
    struct kg_mapping *mapping;
    struct kg_gguf_entry *entries;   /* in file order */
    const struct kg_gguf_entry **by_key;
    size_t entry_count;
    struct kg_gguf_tensor *tensors;  /* in file order */
    const struct kg_gguf_tensor **by_name;
    size_t tensor_count;
    uint32_t alignment;
};

/* A place in the file; every step forward is checked. */
struct kg_gguf_cursor {
    const uint8_t *bytes;
    size_t length, at;
    const char *path;
};

/* The next n bytes; NULL and *err (KG_ERR_FORMAT) when the file ends within them. `what` is being read. */
const uint8_t *kg_gguf_take(struct kg_gguf_cursor *cursor, uint64_t n, const char *what, struct kg_error *err);
enum kg_status kg_gguf_take_u32(struct kg_gguf_cursor *cursor, const char *what, uint32_t *out, struct kg_error *err);
enum kg_status kg_gguf_take_u64(struct kg_gguf_cursor *cursor, const char *what, uint64_t *out, struct kg_error *err);
/* A name: 1 .. limit bytes of printable ASCII without spaces; a new terminated copy. */
enum kg_status kg_gguf_take_name(struct kg_gguf_cursor *cursor, size_t limit, const char *what, char **out, struct kg_error *err);
/* A count of things of which each takes at least `least` bytes, so that no count can ask for more memory than the file is long. */
enum kg_status kg_gguf_take_count(struct kg_gguf_cursor *cursor, size_t least, const char *what, size_t *out, struct kg_error *err);

/* All `count` metadata entries from the cursor; then file->by_key is sorted and free of duplicates. */
enum kg_status kg_gguf_read_entries(struct kg_gguf *file, struct kg_gguf_cursor *cursor, size_t count, struct kg_error *err);
void kg_gguf_free_entries(struct kg_gguf *file);

/* All `count` tensors, and where their data lie behind the cursor: in the file, aligned, side by side, nothing left over. */
enum kg_status kg_gguf_read_tensors(struct kg_gguf *file, struct kg_gguf_cursor *cursor, size_t count, struct kg_error *err);
void kg_gguf_free_tensors(struct kg_gguf *file);

#endif
