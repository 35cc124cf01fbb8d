/* SHA-256 (FIPS 180-4) by libcrypto: names of contents and of cache blocks. */
#ifndef KG_BASE_DIGEST_H
#define KG_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct kg_digest {
    uint8_t bytes[32];
};

struct kg_digest_stream; /* opaque, freed by kg_digest_end */

struct kg_digest kg_digest_of(const void *bytes, size_t length);

/* Piecewise. NULL when out of memory; add and end accept no NULL. End writes the digest and frees. */
struct kg_digest_stream *kg_digest_begin(void);
void kg_digest_add(struct kg_digest_stream *stream, const void *bytes, size_t length);
void kg_digest_end(struct kg_digest_stream *stream, struct kg_digest *out);

/* Digest of a file's bytes. progress (may be NULL) is called with bytes done so far; nonzero stops it. */
enum kg_status kg_digest_file(const char *path, struct kg_digest *out, int (*progress)(void *ctx, uint64_t done),
                              void *ctx, struct kg_error *err);

void kg_digest_hex(const struct kg_digest *digest, char out[65]);

#endif
