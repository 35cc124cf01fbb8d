#include "engine/gguf/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    uint8_t bytes; /* 0: of its own length */
    const char *name;
} values[KG_GGUF_VALUES] = {
    [KG_GGUF_U8] = { 1, "uint8" },   [KG_GGUF_I8] = { 1, "int8" },     [KG_GGUF_U16] = { 2, "uint16" }, [KG_GGUF_I16] = { 2, "int16" },
    [KG_GGUF_U32] = { 4, "uint32" }, [KG_GGUF_I32] = { 4, "int32" },   [KG_GGUF_F32] = { 4, "float32" }, [KG_GGUF_BOOL] = { 1, "bool" },
    [KG_GGUF_TEXT] = { 0, "text" },  [KG_GGUF_ARRAY] = { 0, "array" }, [KG_GGUF_U64] = { 8, "uint64" }, [KG_GGUF_I64] = { 8, "int64" },
    [KG_GGUF_F64] = { 8, "float64" },
};

#define TEXT_LENGTH_BYTES 8

/* texts[i] as described in parse.h; the last one is where the next text would start. */
static enum kg_status read_texts(struct kg_gguf_entry *entry, struct kg_gguf_cursor *cursor, struct kg_error *err)
{
    size_t start = cursor->at;
    entry->texts = malloc((entry->count + 1) * sizeof *entry->texts);
    if (!entry->texts)
        return kg_fail_nomem(err, "reading a model file");
    for (size_t i = 0; i <= entry->count; i++) {
        uint64_t length = 0;
        if (cursor->at - start > UINT32_MAX - TEXT_LENGTH_BYTES)
            return kg_fail(err, KG_ERR_UNSUPPORTED, "%s: the texts of %s take more than 4 GiB", cursor->path, entry->key);
        entry->texts[i] = (uint32_t)(cursor->at - start + TEXT_LENGTH_BYTES);
        if (i == entry->count)
            break;
        enum kg_status status = kg_gguf_take_u64(cursor, entry->key, &length, err);
        if (status != KG_OK || !kg_gguf_take(cursor, length, entry->key, err))
            return KG_ERR_FORMAT;
    }
    return KG_OK;
}

static enum kg_status check_bools(const struct kg_gguf_entry *entry, const char *path, struct kg_error *err)
{
    for (size_t i = 0; i < entry->count; i++)
        if (entry->values[i] > 1)
            return kg_fail(err, KG_ERR_FORMAT, "%s: %s holds %u, which is neither true nor false; fetch the file again", path, entry->key,
                           entry->values[i]);
    return KG_OK;
}

static enum kg_status read_array(struct kg_gguf_entry *entry, struct kg_gguf_cursor *cursor, struct kg_error *err)
{
    uint32_t element;
    enum kg_status status = kg_gguf_take_u32(cursor, entry->key, &element, err);
    if (status != KG_OK)
        return status;
    if (element == KG_GGUF_ARRAY)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s: %s is an array of arrays, which is not supported", cursor->path, entry->key);
    if (element >= KG_GGUF_VALUES)
        return kg_fail(err, KG_ERR_FORMAT, "%s: the elements of %s have unknown type %u; fetch the file again", cursor->path, entry->key,
                       element);
    entry->element = (uint8_t)element;
    size_t size = values[element].bytes;
    status = kg_gguf_take_count(cursor, size ? size : TEXT_LENGTH_BYTES, entry->key, &entry->count, err);
    if (status != KG_OK)
        return status;
    entry->values = cursor->bytes + cursor->at;
    if (!size)
        return read_texts(entry, cursor, err);
    return kg_gguf_take(cursor, (uint64_t)entry->count * size, entry->key, err) ? KG_OK : KG_ERR_FORMAT;
}

static enum kg_status read_entry(struct kg_gguf_entry *entry, struct kg_gguf_cursor *cursor, struct kg_error *err)
{
    uint32_t type = 0;
    uint64_t length = 0;
    enum kg_status status = kg_gguf_take_name(cursor, 65535, "a metadata key", &entry->key, err);
    if (status == KG_OK)
        status = kg_gguf_take_u32(cursor, entry->key, &type, err);
    if (status != KG_OK)
        return status;
    if (type >= KG_GGUF_VALUES)
        return kg_fail(err, KG_ERR_FORMAT, "%s: %s has unknown type %u; fetch the file again", cursor->path, entry->key, type);
    entry->type = entry->element = (uint8_t)type;
    entry->count = 1;
    if (type == KG_GGUF_ARRAY) {
        status = read_array(entry, cursor, err);
    } else if (type == KG_GGUF_TEXT) {
        status = kg_gguf_take_u64(cursor, entry->key, &length, err);
        if (status != KG_OK || !(entry->values = kg_gguf_take(cursor, length, entry->key, err)))
            return KG_ERR_FORMAT;
        entry->count = (size_t)length;
    } else if (!(entry->values = kg_gguf_take(cursor, values[type].bytes, entry->key, err))) {
        return KG_ERR_FORMAT;
    }
    if (status == KG_OK && entry->element == KG_GGUF_BOOL)
        status = check_bools(entry, cursor->path, err);
    return status;
}

static int compare_keys(const void *a, const void *b)
{
    const struct kg_gguf_entry *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

enum kg_status kg_gguf_read_entries(struct kg_gguf *file, struct kg_gguf_cursor *cursor, size_t count, struct kg_error *err)
{
    file->entries = calloc(count + 1, sizeof *file->entries);
    file->by_key = calloc(count + 1, sizeof *file->by_key);
    if (!file->entries || !file->by_key)
        return kg_fail_nomem(err, "reading a model file");
    for (size_t i = 0; i < count; i++) {
        file->entry_count = i + 1;
        file->by_key[i] = &file->entries[i];
        enum kg_status status = read_entry(&file->entries[i], cursor, err);
        if (status != KG_OK)
            return status;
    }
    qsort(file->by_key, count, sizeof *file->by_key, compare_keys);
    for (size_t i = 1; i < count; i++)
        if (strcmp(file->by_key[i - 1]->key, file->by_key[i]->key) == 0)
            return kg_fail(err, KG_ERR_FORMAT, "%s holds %s twice; fetch it again", file->path, file->by_key[i]->key);
    return KG_OK;
}

void kg_gguf_free_entries(struct kg_gguf *file)
{
    for (size_t i = 0; i < file->entry_count; i++) {
        free(file->entries[i].key);
        free(file->entries[i].texts);
    }
    free(file->entries);
    free(file->by_key);
}

static const struct kg_gguf_entry *find(const struct kg_gguf *file, const char *key)
{
    size_t low = 0, high = file->entry_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(file->by_key[middle]->key, key);
        if (order == 0)
            return file->by_key[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

static enum kg_status wrong_type(const struct kg_gguf *file, const struct kg_gguf_entry *entry, const char *wanted, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_FORMAT, "%s: %s is %s%s where %s is expected; convert the model again", file->path, entry->key,
                   entry->type == KG_GGUF_ARRAY ? "an array of " : "", values[entry->element].name, wanted);
}

static enum kg_status absent(const struct kg_gguf *file, const char *key, struct kg_error *err)
{
    return kg_fail(err, KG_ERR_NOT_FOUND, "%s has no %s; convert the model again", file->path, key);
}

/* An integer of any width, widened to 64 bits; *negative says how the topmost is meant. False for what is none. */
static bool load_integer(uint8_t type, const uint8_t *at, bool *negative, uint64_t *bits)
{
    bool has_sign = type == KG_GGUF_I8 || type == KG_GGUF_I16 || type == KG_GGUF_I32 || type == KG_GGUF_I64;
    if (!has_sign && type != KG_GGUF_U8 && type != KG_GGUF_U16 && type != KG_GGUF_U32 && type != KG_GGUF_U64)
        return false;
    *bits = 0;
    memcpy(bits, at, values[type].bytes);
    uint64_t sign = (uint64_t)1 << (8 * values[type].bytes - 1);
    if (has_sign)
        *bits = (*bits ^ sign) - sign;
    *negative = has_sign && *bits >> 63;
    return true;
}

static bool load_float(uint8_t type, const uint8_t *at, double *out)
{
    float single;
    if (type == KG_GGUF_F64) {
        memcpy(out, at, sizeof *out);
    } else if (type == KG_GGUF_F32) {
        memcpy(&single, at, sizeof single);
        *out = (double)single;
    } else {
        return false;
    }
    return true;
}

bool kg_gguf_has(const struct kg_gguf *file, const char *key)
{
    return find(file, key) != NULL;
}

enum kg_status kg_gguf_get_u32(const struct kg_gguf *file, const char *key, uint32_t *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    bool negative;
    uint64_t bits;
    if (!entry)
        return absent(file, key, err);
    if (!load_integer(entry->type, entry->values, &negative, &bits))
        return wrong_type(file, entry, "an integer", err);
    if (negative || bits > UINT32_MAX)
        return kg_fail(err, KG_ERR_FORMAT, "%s: %s is %lld, which is not from 0 to 4294967295; convert the model again", file->path, key,
                       (long long)bits);
    *out = (uint32_t)bits;
    return KG_OK;
}

enum kg_status kg_gguf_get_f64(const struct kg_gguf *file, const char *key, double *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    double value;
    if (!entry)
        return absent(file, key, err);
    if (!load_float(entry->type, entry->values, &value))
        return wrong_type(file, entry, "a float", err);
    if (!isfinite(value))
        return kg_fail(err, KG_ERR_FORMAT, "%s: %s is not a finite number; convert the model again", file->path, key);
    *out = value;
    return KG_OK;
}

enum kg_status kg_gguf_get_bool(const struct kg_gguf *file, const char *key, bool *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    if (!entry)
        return absent(file, key, err);
    if (entry->type != KG_GGUF_BOOL)
        return wrong_type(file, entry, "a bool", err);
    *out = entry->values[0] != 0;
    return KG_OK;
}

enum kg_status kg_gguf_get_text(const struct kg_gguf *file, const char *key, struct kg_gguf_text *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    if (!entry)
        return absent(file, key, err);
    if (entry->type != KG_GGUF_TEXT)
        return wrong_type(file, entry, "a text", err);
    out->bytes = (const char *)entry->values;
    out->length = entry->count;
    return KG_OK;
}

enum kg_status kg_gguf_array_count(const struct kg_gguf *file, const char *key, size_t *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    if (!entry)
        return absent(file, key, err);
    if (entry->type != KG_GGUF_ARRAY)
        return wrong_type(file, entry, "an array", err);
    *out = entry->count;
    return KG_OK;
}

/* That there is an array with such an element. */
static enum kg_status check_element(const struct kg_gguf *file, const struct kg_gguf_entry *entry, const char *key, size_t index, struct kg_error *err)
{
    if (!entry)
        return absent(file, key, err);
    if (entry->type != KG_GGUF_ARRAY)
        return wrong_type(file, entry, "an array", err);
    if (index >= entry->count)
        return kg_fail(err, KG_ERR_RANGE, "%s: %s has %zu elements, so there is no element %zu", file->path, key, entry->count, index);
    return KG_OK;
}

enum kg_status kg_gguf_array_text(const struct kg_gguf *file, const char *key, size_t index, struct kg_gguf_text *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    enum kg_status status = check_element(file, entry, key, index, err);
    if (status != KG_OK || !entry)
        return status;
    if (!entry->texts)
        return wrong_type(file, entry, "an array of texts", err);
    out->bytes = (const char *)entry->values + entry->texts[index];
    out->length = entry->texts[index + 1] - TEXT_LENGTH_BYTES - entry->texts[index];
    return KG_OK;
}

enum kg_status kg_gguf_array_i64(const struct kg_gguf *file, const char *key, size_t index, int64_t *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    bool negative;
    uint64_t bits;
    enum kg_status status = check_element(file, entry, key, index, err);
    if (status != KG_OK || !entry)
        return status;
    if (!load_integer(entry->element, entry->values + index * values[entry->element].bytes, &negative, &bits))
        return wrong_type(file, entry, "an array of integers", err);
    if (!negative && bits > INT64_MAX)
        return kg_fail(err, KG_ERR_FORMAT, "%s: element %zu of %s is beyond 63 bits; convert the model again", file->path, index, key);
    *out = (int64_t)bits;
    return KG_OK;
}

enum kg_status kg_gguf_array_f64(const struct kg_gguf *file, const char *key, size_t index, double *out, struct kg_error *err)
{
    const struct kg_gguf_entry *entry = find(file, key);
    enum kg_status status = check_element(file, entry, key, index, err);
    if (status != KG_OK || !entry)
        return status;
    if (!load_float(entry->element, entry->values + index * values[entry->element].bytes, out))
        return wrong_type(file, entry, "an array of floats", err);
    return KG_OK;
}

size_t kg_gguf_keys(const struct kg_gguf *file)
{
    return file->entry_count;
}

const char *kg_gguf_key(const struct kg_gguf *file, size_t index)
{
    return file->entries[index].key;
}
