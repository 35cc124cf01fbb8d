/* Private to engine/model: what the metadata of a model say about its mathematics. */
#ifndef KG_ENGINE_PARAMETERS_H
#define KG_ENGINE_PARAMETERS_H

#include "engine/model/architecture.h"
#include "engine/model/model.h"

struct kg_parameters {
    struct kg_model_shape shape;
    float norm_eps;
    float embedding_scale;
    struct kg_attention attention; /* attention.rope is set by whoever keeps a kg_parameters */
    struct kg_rope rope;
};

/* Reads and checks everything; a key that changes the mathematics and is not applied is refused by name. */
enum kg_status kg_parameters_read(const struct kg_gguf *file, const struct kg_architecture *architecture, struct kg_parameters *out,
                                  struct kg_error *err);

/* What a tensor's dimension has to be. */
uint32_t kg_parameters_dimension(const struct kg_parameters *parameters, enum kg_dimension dimension);

/* The key "ARCH.suffix", in a buffer of KG_KEY_MAX. */
#define KG_KEY_MAX 96
const char *kg_parameters_key(char out[KG_KEY_MAX], const char *architecture, const char *suffix);

/* Absent keys leave *out as it is. */
enum kg_status kg_parameters_u32(const struct kg_gguf *file, const char *architecture, const char *suffix, uint32_t *out, struct kg_error *err);
enum kg_status kg_parameters_f64(const struct kg_gguf *file, const char *architecture, const char *suffix, double *out, struct kg_error *err);

/* rope.c: rotation as rope.*, rope.scaling.* and rope_freqs.weight describe it; shape is known. trained_length grows where the
 * scaling says so. */
enum kg_status kg_parameters_rope(const struct kg_gguf *file, const struct kg_architecture *architecture, struct kg_parameters *out,
                                  struct kg_error *err);

#endif
