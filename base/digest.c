#include "base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kg_digest kg_digest_of(const void *bytes, size_t length)
{
    struct kg_digest digest;
    SHA256(bytes, length, digest.bytes);
    return digest;
}

/* The stream is OpenSSL's own context under our name. */
struct kg_digest_stream *kg_digest_begin(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(context);
        return NULL;
    }
    return (struct kg_digest_stream *)context;
}

void kg_digest_add(struct kg_digest_stream *stream, const void *bytes, size_t length)
{
    EVP_DigestUpdate((EVP_MD_CTX *)stream, bytes, length);
}

void kg_digest_end(struct kg_digest_stream *stream, struct kg_digest *out)
{
    EVP_DigestFinal_ex((EVP_MD_CTX *)stream, out->bytes, NULL);
    EVP_MD_CTX_free((EVP_MD_CTX *)stream);
}

#define READ_CHUNK ((size_t)1 << 20)

static enum kg_status digest_stream_of(FILE *file, const char *path, struct kg_digest_stream *stream, char *chunk,
                                       int (*progress)(void *ctx, uint64_t done), void *ctx, struct kg_error *err)
{
    uint64_t done = 0;
    size_t n;
    while ((n = fread(chunk, 1, READ_CHUNK, file)) > 0) {
        kg_digest_add(stream, chunk, n);
        done += n;
        if (progress && progress(ctx, done))
            return kg_fail(err, KG_ERR_CANCELLED, "stopped while checking %s", path);
    }
    return ferror(file) ? kg_fail(err, KG_ERR_IO, "cannot read %s: %s", path, strerror(errno)) : KG_OK;
}

enum kg_status kg_digest_file(const char *path, struct kg_digest *out, int (*progress)(void *ctx, uint64_t done),
                              void *ctx, struct kg_error *err)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return kg_fail(err, errno == ENOENT ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    setvbuf(file, NULL, _IONBF, 0);
    char *chunk = malloc(READ_CHUNK);
    struct kg_digest_stream *stream = kg_digest_begin();
    enum kg_status status = chunk && stream ? digest_stream_of(file, path, stream, chunk, progress, ctx, err)
                                            : kg_fail_nomem(err, "checking a file");
    if (stream)
        kg_digest_end(stream, out);
    free(chunk);
    fclose(file);
    return status;
}

void kg_digest_hex(const struct kg_digest *digest, char out[65])
{
    for (unsigned i = 0; i < 32; i++)
        snprintf(out + (size_t)2 * i, 3, "%02x", digest->bytes[i]);
}
