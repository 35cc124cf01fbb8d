/* A model on its way: FILE.partial holds bytes, FILE.parts says what is known about them. Both survive a crash at any
 * instruction; whatever else is lost, the digest decides at the end.
 *
 *   FILE.parts   kedge-parts 1 SHA256            the model that FILE.partial belongs to
 *                source TEXT                     the pip source whose parts are listed
 *                END                             where part 1 ends, then part 2, ...
 *
 * An https source goes on from the end of FILE.partial. A source in parts writes part after part from where the last
 * listed one ends, over what another source may have left there: it is the same file.
 */
#ifndef KG_ENGINE_CATALOGUE_PARTIAL_H
#define KG_ENGINE_CATALOGUE_PARTIAL_H

#include "engine/catalogue/catalogue.h"

/* Has something been left of a download to path? */
bool kg_partial_exists(const char *path);
/* Throws it away. */
void kg_partial_discard(const char *path);

struct kg_partial; /* opaque; one thread, under the model's lock */

/* path is where the model shall lie. Bytes of another model of that name are thrown away. */
enum kg_status kg_partial_open(const char *path, const struct kg_catalogue_model *model, struct kg_partial **out, struct kg_error *err);
void kg_partial_close(struct kg_partial *partial); /* keeps the files; NULL is fine */

uint64_t kg_partial_length(const struct kg_partial *partial);
/* Refuses bytes beyond the model's length (KG_ERR_CORRUPT); KG_ERR_FULL when the disk is full. */
enum kg_status kg_partial_write(struct kg_partial *partial, uint64_t offset, const void *bytes, size_t length, struct kg_error *err);

/* Complete parts of this source, and in *end where the last of them ends. */
unsigned kg_partial_parts(struct kg_partial *partial, const char *source, uint64_t *end);
/* One more part of the source asked about last; it ends at `end` and is on disk when this returns. */
enum kg_status kg_partial_part_done(struct kg_partial *partial, uint64_t end, struct kg_error *err);

/* Nothing has come yet. */
enum kg_status kg_partial_reset(struct kg_partial *partial, struct kg_error *err);

/* Length and digest agree: the file is renamed into place and remembered as right. Otherwise KG_ERR_CORRUPT, and what
 * came is thrown away. progress as in kg_digest_file. */
enum kg_status kg_partial_finish(struct kg_partial *partial, int (*progress)(void *ctx, uint64_t done), void *ctx, struct kg_error *err);

#endif
