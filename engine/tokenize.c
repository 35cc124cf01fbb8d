#include "engine/engine.h"
#include "engine/tokenizer/tokenizer.h"

enum kg_status kg_tokenize_with(const char *model_path, const char *text, size_t length, bool special, int32_t **out, size_t *count, struct kg_error *err)
{
    struct kg_gguf *file = NULL;
    struct kg_tokenizer *tokenizer = NULL;
    struct kg_ids ids = { 0 };
    enum kg_status status = kg_gguf_open(model_path, &file, err);
    if (status == KG_OK)
        status = kg_tokenizer_create(file, &tokenizer, err);
    if (status == KG_OK)
        status = kg_tokenize(tokenizer, text, length, special, &ids, err);
    if (status == KG_OK) {
        *out = ids.ids;
        *count = ids.count;
    } else {
        kg_ids_free(&ids);
    }
    if (tokenizer)
        kg_tokenizer_free(tokenizer);
    if (file)
        kg_gguf_close(file);
    return status;
}
