#include "engine/gguf/parse.h"

#include <stdlib.h>
#include <string.h>

/* Names of the types that others write and we do not read, for messages only. */
static const char *foreign_type(uint32_t type)
{
    static const char *const names[] = {
        [4] = "Q4_2",     [5] = "Q4_3",     [9] = "Q8_1",     [10] = "Q2_K",   [11] = "Q3_K",   [15] = "Q8_K",
        [16] = "IQ2_XXS", [17] = "IQ2_XS",  [18] = "IQ3_XXS", [19] = "IQ1_S",  [20] = "IQ4_NL", [21] = "IQ3_S",
        [22] = "IQ2_S",   [23] = "IQ4_XS",  [24] = "I8",      [25] = "I16",    [26] = "I32",    [27] = "I64",
        [28] = "F64",     [29] = "IQ1_M",   [34] = "TQ1_0",   [35] = "TQ2_0",  [39] = "MXFP4",
    };
    return type < sizeof names / sizeof *names && names[type] ? names[type] : "unknown";
}

/* dims -> cols (the first) and rows (product of the others). */
static enum kg_status read_dimensions(struct kg_gguf_tensor *tensor, struct kg_gguf_cursor *cursor, struct kg_error *err)
{
    uint32_t count = 0;
    uint64_t rows = 1;
    enum kg_status status = kg_gguf_take_u32(cursor, tensor->name, &count, err);
    if (status != KG_OK)
        return status;
    if (count < 1 || count > 4)
        return kg_fail(err, KG_ERR_FORMAT, "%s: tensor %s has %u dimensions (1 to 4 are allowed); fetch the file again", cursor->path,
                       tensor->name, count);
    for (uint32_t i = 0; i < count; i++) {
        uint64_t n = 0;
        status = kg_gguf_take_u64(cursor, tensor->name, &n, err);
        if (status != KG_OK)
            return status;
        /* rows stays within 32 bits, so the product within 64 */
        if (n < 1 || n > UINT32_MAX || (i > 0 && (rows *= n) > UINT32_MAX))
            return kg_fail(err, KG_ERR_FORMAT, "%s: dimension %u of tensor %s is %llu, which is out of range; fetch the file again",
                           cursor->path, i, tensor->name, (unsigned long long)n);
        if (i == 0)
            tensor->cols = (uint32_t)n;
    }
    tensor->rows = (uint32_t)rows;
    return KG_OK;
}

static enum kg_status read_type(struct kg_gguf_tensor *tensor, struct kg_gguf_cursor *cursor, struct kg_error *err)
{
    uint32_t type = 0, elements = 0, bytes = 0;
    enum kg_status status = kg_gguf_take_u32(cursor, tensor->name, &type, err);
    if (status != KG_OK)
        return status;
    if (!kg_type_layout((enum kg_type)type, &elements, &bytes))
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s: tensor %s has type %s (%u), which cannot be read; take the model in Q4_K_M, Q8_0 or F16",
                       cursor->path, tensor->name, foreign_type(type), type);
    if (tensor->cols % elements != 0)
        return kg_fail(err, KG_ERR_FORMAT, "%s: rows of tensor %s have %u elements, which is no multiple of the %u of type %s; fetch the file again",
                       cursor->path, tensor->name, tensor->cols, elements, kg_type_name((enum kg_type)type));
    tensor->type = (enum kg_type)type;
    /* at most 2^32 * 2^32 / elements * bytes */
    __extension__ unsigned __int128 total = (unsigned __int128)(tensor->cols / elements) * bytes * tensor->rows;
    if (total > cursor->length)
        return kg_fail(err, KG_ERR_FORMAT, "%s is too short for tensor %s; it is damaged or not whole, fetch it again", cursor->path,
                       tensor->name);
    tensor->bytes = (size_t)total;
    return KG_OK;
}

static enum kg_status read_tensor(struct kg_gguf_tensor *tensor, uint64_t *offset, struct kg_gguf_cursor *cursor, struct kg_error *err)
{
    char *name = NULL;
    enum kg_status status = kg_gguf_take_name(cursor, 255, "a tensor's name", &name, err);
    tensor->name = name;
    if (status == KG_OK)
        status = read_dimensions(tensor, cursor, err);
    if (status == KG_OK)
        status = read_type(tensor, cursor, err);
    if (status == KG_OK)
        status = kg_gguf_take_u64(cursor, tensor->name, offset, err);
    return status;
}

struct place {
    uint64_t offset;
    struct kg_gguf_tensor *tensor;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The data section, in order of the offsets, which count from its start:
 *
 *   list of tensors | pad | tensor | pad | tensor | pad | ... | last tensor | pad, or end of file
 *
 * pad reaches to the next multiple of the alignment, so neither overlaps nor holes are possible. */
static enum kg_status place_all(struct kg_gguf *file, const struct place *places, size_t end_of_list, struct kg_error *err)
{
    size_t length = kg_mapping_length(file->mapping), mask = file->alignment - 1;
    size_t start = (end_of_list + mask) & ~mask, at = start;
    for (size_t i = 0; i < file->tensor_count; i++) {
        struct kg_gguf_tensor *tensor = places[i].tensor;
        at = (at + mask) & ~mask;
        if (places[i].offset > length || start + places[i].offset != at)
            return kg_fail(err, KG_ERR_FORMAT, "%s: the data of tensor %s is at offset %llu, where %zu is expected; fetch the file again",
                           file->path, tensor->name, (unsigned long long)places[i].offset, at - start);
        if (at > length || tensor->bytes > length - at)
            return kg_fail(err, KG_ERR_FORMAT, "%s ends within the data of tensor %s; it is not whole, fetch it again", file->path,
                           tensor->name);
        tensor->data = kg_mapping_bytes(file->mapping) + at;
        at += tensor->bytes;
    }
    if (length > ((at + mask) & ~mask))
        return kg_fail(err, KG_ERR_FORMAT, "%s goes on for %zu bytes behind its last tensor; it is damaged, fetch it again", file->path,
                       length - at);
    return KG_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct kg_gguf_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static enum kg_status read_list(struct kg_gguf *file, struct place *places, struct kg_gguf_cursor *cursor, size_t count, struct kg_error *err)
{
    for (size_t i = 0; i < count; i++) {
        file->tensor_count = i + 1;
        file->by_name[i] = places[i].tensor = &file->tensors[i];
        enum kg_status status = read_tensor(&file->tensors[i], &places[i].offset, cursor, err);
        if (status != KG_OK)
            return status;
    }
    qsort(file->by_name, count, sizeof *file->by_name, compare_names);
    for (size_t i = 1; i < count; i++)
        if (strcmp(file->by_name[i - 1]->name, file->by_name[i]->name) == 0)
            return kg_fail(err, KG_ERR_FORMAT, "%s holds tensor %s twice; fetch it again", file->path, file->by_name[i]->name);
    qsort(places, count, sizeof *places, compare_places);
    return place_all(file, places, cursor->at, err);
}

enum kg_status kg_gguf_read_tensors(struct kg_gguf *file, struct kg_gguf_cursor *cursor, size_t count, struct kg_error *err)
{
    file->tensors = calloc(count + 1, sizeof *file->tensors);
    file->by_name = calloc(count + 1, sizeof *file->by_name);
    struct place *places = calloc(count + 1, sizeof *places);
    enum kg_status status = file->tensors && file->by_name && places ? read_list(file, places, cursor, count, err)
                                                                     : kg_fail_nomem(err, "reading a model file");
    free(places);
    return status;
}

void kg_gguf_free_tensors(struct kg_gguf *file)
{
    for (size_t i = 0; i < file->tensor_count; i++)
        free((char *)file->tensors[i].name);
    free(file->tensors);
    free(file->by_name);
}

size_t kg_gguf_tensors(const struct kg_gguf *file)
{
    return file->tensor_count;
}

const struct kg_gguf_tensor *kg_gguf_tensor_at(const struct kg_gguf *file, size_t index)
{
    return &file->tensors[index];
}

const struct kg_gguf_tensor *kg_gguf_tensor_find(const struct kg_gguf *file, const char *name)
{
    size_t low = 0, high = file->tensor_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(file->by_name[middle]->name, name);
        if (order == 0)
            return file->by_name[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
