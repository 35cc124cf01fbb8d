/* Which layers of a model a card computes, where it has not room for all. */
#ifndef KG_ENGINE_PLACEMENT_H
#define KG_ENGINE_PLACEMENT_H

#include "engine/engine.h"
#include "engine/gguf/gguf.h"

/* If *backend is a card that cannot have all layers, by options->gpu_layers or by its memory, the first layers go to the CPU: *backend
 * and *device become those of both together, and notice (KG_ERROR_TEXT) says so. It also says that layers are for a card where *backend
 * is none; else it is empty. The decision is made of the file and of the memory that is free now. KG_ERR_NOMEM: the card has not even room for one layer and the output; KG_ERR_USAGE: gpu_layers is neither auto nor a
 * number. On failure *device stays what it was, or is NULL and closed. */
enum kg_status kg_place_layers(const struct kg_gguf *file, const struct kg_engine_options *options, const struct kg_backend **backend,
                               struct kg_device **device, char *notice, struct kg_error *err);

#endif
