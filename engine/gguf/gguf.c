#include "engine/gguf/parse.h"

#include <stdlib.h>
#include <string.h>

const uint8_t *kg_gguf_take(struct kg_gguf_cursor *cursor, uint64_t n, const char *what, struct kg_error *err)
{
    if (n > cursor->length - cursor->at) {
        kg_fail(err, KG_ERR_FORMAT, "%s ends within %s (%llu bytes at offset %zu); it is damaged or not whole, fetch it again", cursor->path,
                what, (unsigned long long)n, cursor->at);
        return NULL;
    }
    const uint8_t *bytes = cursor->bytes + cursor->at;
    cursor->at += (size_t)n;
    return bytes;
}

enum kg_status kg_gguf_take_u32(struct kg_gguf_cursor *cursor, const char *what, uint32_t *out, struct kg_error *err)
{
    const uint8_t *bytes = kg_gguf_take(cursor, sizeof *out, what, err);
    if (!bytes)
        return KG_ERR_FORMAT;
    memcpy(out, bytes, sizeof *out);
    return KG_OK;
}

enum kg_status kg_gguf_take_u64(struct kg_gguf_cursor *cursor, const char *what, uint64_t *out, struct kg_error *err)
{
    const uint8_t *bytes = kg_gguf_take(cursor, sizeof *out, what, err);
    if (!bytes)
        return KG_ERR_FORMAT;
    memcpy(out, bytes, sizeof *out);
    return KG_OK;
}

enum kg_status kg_gguf_take_name(struct kg_gguf_cursor *cursor, size_t limit, const char *what, char **out, struct kg_error *err)
{
    uint64_t length = 0;
    enum kg_status status = kg_gguf_take_u64(cursor, what, &length, err);
    const uint8_t *bytes = status == KG_OK ? kg_gguf_take(cursor, length, what, err) : NULL;
    if (!bytes)
        return KG_ERR_FORMAT;
    if (length == 0 || length > limit)
        return kg_fail(err, KG_ERR_FORMAT, "%s holds %s of %llu bytes (1 to %zu are allowed); it is damaged, fetch it again",
                       cursor->path, what, (unsigned long long)length, limit);
    for (size_t i = 0; i < length; i++)
        if (bytes[i] <= 0x20 || bytes[i] >= 0x7f)
            return kg_fail(err, KG_ERR_FORMAT, "%s holds %s with the byte 0x%02x in it; it is damaged, fetch it again",
                           cursor->path, what, bytes[i]);
    *out = strndup((const char *)bytes, (size_t)length);
    return *out ? KG_OK : kg_fail_nomem(err, "reading a model file");
}

enum kg_status kg_gguf_take_count(struct kg_gguf_cursor *cursor, size_t least, const char *what, size_t *out, struct kg_error *err)
{
    uint64_t count = 0;
    enum kg_status status = kg_gguf_take_u64(cursor, what, &count, err);
    if (status != KG_OK)
        return status;
    if (count > (cursor->length - cursor->at) / least)
        return kg_fail(err, KG_ERR_FORMAT, "%s is too short for %s of %llu; it is damaged or not whole, fetch it again",
                       cursor->path, what, (unsigned long long)count);
    *out = (size_t)count;
    return KG_OK;
}

static enum kg_status check_header(struct kg_gguf_cursor *cursor, struct kg_error *err)
{
    uint32_t magic = 0, version = 0;
    enum kg_status status = kg_gguf_take_u32(cursor, "the header", &magic, err);
    if (status == KG_OK)
        status = kg_gguf_take_u32(cursor, "the header", &version, err);
    if (status != KG_OK)
        return status;
    if (magic != 0x46554747) /* "GGUF" */
        return kg_fail(err, KG_ERR_FORMAT, "%s is not a GGUF file; name a model in GGUF format", cursor->path);
    if (version >= 0x10000 && (version & 0xffff) == 0)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is a big-endian GGUF file; take the little-endian one", cursor->path);
    if (version != 2 && version != 3)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is GGUF version %u; versions 2 and 3 can be read, convert it again", cursor->path,
                       version);
    return KG_OK;
}

static enum kg_status read_alignment(struct kg_gguf *file, struct kg_error *err)
{
    file->alignment = 32;
    if (!kg_gguf_has(file, "general.alignment"))
        return KG_OK;
    enum kg_status status = kg_gguf_get_u32(file, "general.alignment", &file->alignment, err);
    uint32_t a = file->alignment;
    if (status == KG_OK && (a < 8 || a > 65536 || (a & (a - 1)) != 0))
        return kg_fail(err, KG_ERR_FORMAT, "%s has general.alignment %u, which is no power of two from 8 to 65536; convert it again",
                       file->path, a);
    return status;
}

static enum kg_status parse(struct kg_gguf *file, struct kg_error *err)
{
    struct kg_gguf_cursor cursor = { kg_mapping_bytes(file->mapping), kg_mapping_length(file->mapping), 0, file->path };
    size_t tensors = 0, entries = 0;
    enum kg_status status = check_header(&cursor, err);
    /* the least: name length 8, one byte of name, dimension count 4, one dimension 8, type 4, offset 8 */
    if (status == KG_OK)
        status = kg_gguf_take_count(&cursor, 33, "the list of tensors", &tensors, err);
    /* the least: key length 8, one byte of key, type 4, one byte of value */
    if (status == KG_OK)
        status = kg_gguf_take_count(&cursor, 14, "the list of metadata", &entries, err);
    if (status == KG_OK)
        status = kg_gguf_read_entries(file, &cursor, entries, err);
    if (status == KG_OK)
        status = read_alignment(file, err);
    if (status == KG_OK)
        status = kg_gguf_read_tensors(file, &cursor, tensors, err);
    return status == KG_OK ? kg_gguf_intact(file, err) : status;
}

enum kg_status kg_gguf_open(const char *path, struct kg_gguf **out, struct kg_error *err)
{
    *out = NULL;
    struct kg_gguf *file = calloc(1, sizeof *file);
    if (!file || !(file->path = strdup(path))) {
        kg_gguf_close(file);
        return kg_fail_nomem(err, "opening a model file");
    }
    enum kg_status status = kg_mapping_open(path, &file->mapping, err);
    if (status == KG_OK)
        status = parse(file, err);
    if (status != KG_OK) {
        kg_gguf_close(file);
        return status;
    }
    *out = file;
    return KG_OK;
}

void kg_gguf_close(struct kg_gguf *file)
{
    if (!file)
        return;
    kg_gguf_free_entries(file);
    kg_gguf_free_tensors(file);
    kg_mapping_close(file->mapping);
    free(file->path);
    free(file);
}

const char *kg_gguf_path(const struct kg_gguf *file)
{
    return file->path;
}

size_t kg_gguf_bytes(const struct kg_gguf *file)
{
    return kg_mapping_length(file->mapping);
}

enum kg_status kg_gguf_intact(const struct kg_gguf *file, struct kg_error *err)
{
    if (!kg_mapping_lost(file->mapping))
        return KG_OK;
    return kg_fail(err, KG_ERR_CHANGED, "%s was cut short while it was being read; restore the file and start again", file->path);
}

void kg_gguf_forget(const struct kg_gguf *file, const struct kg_gguf_tensor *tensor)
{
    kg_mapping_forget(file->mapping, tensor->data, tensor->bytes);
}
