#include "engine/model/architecture.h"

#include <stdlib.h>
#include <string.h>

static const struct kg_architecture architectures[] = {
    { "llama", 0, KG_ROPE_INTERLEAVED },
    { "qwen2", 1, KG_ROPE_HALVES },
    { "qwen3", 2, KG_ROPE_HALVES },
};

/* clang-format off */
#define no    KG_NEVER
#define maybe KG_MAYBE
#define must  KG_MUST
const struct kg_tensor_rule kg_layer_rules[KG_LAYER_SLOTS] = {
    /*                     name                  cols                 rows                   llama  qwen2  qwen3 */
    [KG_ATTN_NORM]     = { "attn_norm.weight",   KG_DIM_WIDTH,        KG_DIM_ONE,          { must,  must,  must  } },
    [KG_ATTN_Q]        = { "attn_q.weight",      KG_DIM_WIDTH,        KG_DIM_QUERIES,      { must,  must,  must  } },
    [KG_ATTN_K]        = { "attn_k.weight",      KG_DIM_WIDTH,        KG_DIM_KEYS,         { must,  must,  must  } },
    [KG_ATTN_V]        = { "attn_v.weight",      KG_DIM_WIDTH,        KG_DIM_KEYS,         { must,  must,  must  } },
    [KG_ATTN_OUT]      = { "attn_output.weight", KG_DIM_QUERIES,      KG_DIM_WIDTH,        { must,  must,  must  } },
    [KG_ATTN_Q_BIAS]   = { "attn_q.bias",        KG_DIM_QUERIES,      KG_DIM_ONE,          { maybe, must,  maybe } },
    [KG_ATTN_K_BIAS]   = { "attn_k.bias",        KG_DIM_KEYS,         KG_DIM_ONE,          { maybe, must,  maybe } },
    [KG_ATTN_V_BIAS]   = { "attn_v.bias",        KG_DIM_KEYS,         KG_DIM_ONE,          { maybe, must,  maybe } },
    [KG_ATTN_OUT_BIAS] = { "attn_output.bias",   KG_DIM_WIDTH,        KG_DIM_ONE,          { maybe, no,    maybe } },
    [KG_ATTN_Q_NORM]   = { "attn_q_norm.weight", KG_DIM_HEAD,         KG_DIM_ONE,          { no,    no,    must  } },
    [KG_ATTN_K_NORM]   = { "attn_k_norm.weight", KG_DIM_HEAD,         KG_DIM_ONE,          { no,    no,    must  } },
    [KG_FFN_NORM]      = { "ffn_norm.weight",    KG_DIM_WIDTH,        KG_DIM_ONE,          { must,  must,  must  } },
    [KG_FFN_GATE]      = { "ffn_gate.weight",    KG_DIM_WIDTH,        KG_DIM_FEED_FORWARD, { must,  must,  must  } },
    [KG_FFN_UP]        = { "ffn_up.weight",      KG_DIM_WIDTH,        KG_DIM_FEED_FORWARD, { must,  must,  must  } },
    [KG_FFN_DOWN]      = { "ffn_down.weight",    KG_DIM_FEED_FORWARD, KG_DIM_WIDTH,        { must,  must,  must  } },
    [KG_FFN_GATE_BIAS] = { "ffn_gate.bias",      KG_DIM_FEED_FORWARD, KG_DIM_ONE,          { maybe, no,    no    } },
    [KG_FFN_UP_BIAS]   = { "ffn_up.bias",        KG_DIM_FEED_FORWARD, KG_DIM_ONE,          { maybe, no,    no    } },
    [KG_FFN_DOWN_BIAS] = { "ffn_down.bias",      KG_DIM_WIDTH,        KG_DIM_ONE,          { maybe, no,    no    } },
};

const struct kg_tensor_rule kg_model_rules[KG_MODEL_SLOTS] = {
    [KG_EMBEDDING]     = { "token_embd.weight",  KG_DIM_WIDTH,        KG_DIM_VOCABULARY,   { must,  must,  must  } },
    [KG_OUT_NORM]      = { "output_norm.weight", KG_DIM_WIDTH,        KG_DIM_ONE,          { must,  must,  must  } },
    /* without it, the embedding is the output matrix too */
    [KG_OUT]           = { "output.weight",      KG_DIM_WIDTH,        KG_DIM_VOCABULARY,   { maybe, maybe, maybe } },
    /* llama3's scaling: divisors of the frequencies */
    [KG_ROPE_FACTORS]  = { "rope_freqs.weight",  KG_DIM_PAIRS,        KG_DIM_ONE,          { maybe, no,    no    } },
};
#undef no
#undef maybe
#undef must
/* clang-format on */

enum kg_status kg_architecture_of(const struct kg_gguf *file, const struct kg_architecture **out, struct kg_error *err)
{
    struct kg_gguf_text name = { 0 };
    enum kg_status status = kg_gguf_get_text(file, "general.architecture", &name, err);
    if (status != KG_OK)
        return status;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++) {
        *out = &architectures[i];
        if (strlen((*out)->name) == name.length && memcmp((*out)->name, name.bytes, name.length) == 0)
            return KG_OK;
    }
    return kg_fail(err, KG_ERR_UNSUPPORTED, "%s is a model of architecture %.*s; llama, qwen2 and qwen3 can be run", kg_gguf_path(file),
                   (int)(name.length < 64 ? name.length : 64), name.bytes);
}

/* "blk.12.attn_q.weight" -> "attn_q.weight"; NULL unless the layer's number is below `layers` and written without zeros in front. */
static const char *name_in_layer(const char *name, uint32_t layers)
{
    if (strncmp(name, "blk.", 4) != 0 || name[4] < '0' || name[4] > '9' || (name[4] == '0' && name[5] != '.'))
        return NULL;
    char *end;
    unsigned long layer = strtoul(name + 4, &end, 10);
    return *end == '.' && layer < layers ? end + 1 : NULL;
}

static bool in_rules(const char *name, const struct kg_tensor_rule *rules, size_t count, unsigned architecture)
{
    for (size_t i = 0; name && i < count; i++)
        if (strcmp(rules[i].name, name) == 0)
            return rules[i].need[architecture] != KG_NEVER;
    return false;
}

enum kg_status kg_architecture_check_tensors(const struct kg_architecture *architecture, const struct kg_gguf *file, uint32_t layers,
                                             struct kg_error *err)
{
    for (size_t i = 0; i < kg_gguf_tensors(file); i++) {
        const char *name = kg_gguf_tensor_at(file, i)->name;
        if (!in_rules(name, kg_model_rules, KG_MODEL_SLOTS, architecture->index) &&
            !in_rules(name_in_layer(name, layers), kg_layer_rules, KG_LAYER_SLOTS, architecture->index))
            return kg_fail(err, KG_ERR_UNSUPPORTED, "%s holds tensor %s, which a %s model of %u layers is not known to have; choose another model",
                           kg_gguf_path(file), name, architecture->name, layers);
    }
    return KG_OK;
}
