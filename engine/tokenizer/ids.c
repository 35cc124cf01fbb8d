#include <stdlib.h>
#include <string.h>

#include "engine/tokenizer/tokenizer.h"

enum kg_status kg_ids_append(struct kg_ids *list, const int32_t *ids, size_t count, struct kg_error *err)
{
    if (count > list->capacity - list->count) {
        size_t capacity = list->capacity ? list->capacity : 64;
        while (capacity - list->count < count) {
            if (capacity > SIZE_MAX / (2 * sizeof *ids))
                return kg_fail_nomem(err, "collecting tokens");
            capacity *= 2;
        }
        int32_t *grown = realloc(list->ids, capacity * sizeof *grown);
        if (!grown)
            return kg_fail_nomem(err, "collecting tokens");
        list->ids = grown;
        list->capacity = capacity;
    }
    if (count)
        memcpy(list->ids + list->count, ids, count * sizeof *ids);
    list->count += count;
    return KG_OK;
}

enum kg_status kg_ids_push(struct kg_ids *list, int32_t id, struct kg_error *err)
{
    if (list->count == list->capacity)
        return kg_ids_append(list, &id, 1, err);
    list->ids[list->count++] = id;
    return KG_OK;
}

void kg_ids_free(struct kg_ids *list)
{
    free(list->ids);
    *list = (struct kg_ids){ 0 };
}
