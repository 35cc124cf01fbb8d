#include "tui/file/saved.h"

#include <stdlib.h>
#include <string.h>

#include "base/paths.h"
#include "tui/complete/completer.h"

/* A record: the digest, whether the file was there, and what it held. */
#define WAS_NEW 'n'
#define WAS_THERE 't'
#define HEAD (sizeof((struct kg_digest *)0)->bytes + 1)

void kg_saved_clear(struct kg_saved *saved)
{
    free(saved->before);
    *saved = (struct kg_saved){ .known = false };
}

void kg_saved_look(struct kg_saved *saved, const char *file, const char *name)
{
    if (saved->first)
        return;
    kg_saved_clear(saved);
    enum kg_status status = kg_read_file(file, KG_FILE_MAX, &saved->before, &saved->before_length, NULL);
    saved->known = status == KG_ERR_NOT_FOUND || (status == KG_OK && !kg_completer_is_secret(name, saved->before, saved->before_length));
}

enum kg_status kg_saved_tell(struct kg_saved *saved, const struct kg_digest *after, const char *record, struct kg_error *err)
{
    saved->first = true;
    saved->after = *after;
    if (!saved->known)
        return KG_OK;
    char *bytes = malloc(HEAD + saved->before_length);
    if (!bytes)
        return kg_fail_nomem(err, "telling what was saved");
    memcpy(bytes, after->bytes, sizeof after->bytes);
    bytes[HEAD - 1] = saved->before ? WAS_THERE : WAS_NEW;
    if (saved->before)
        memcpy(bytes + HEAD, saved->before, saved->before_length);
    enum kg_status status = kg_write_file(record, bytes, HEAD + saved->before_length, 0600, err);
    free(bytes);
    return status;
}

bool kg_saved_read(const char *record, struct kg_saved *out)
{
    char *bytes;
    size_t length;
    *out = (struct kg_saved){ .known = false };
    if (kg_read_file(record, HEAD + KG_FILE_MAX, &bytes, &length, NULL) != KG_OK)
        return false;
    out->known = length >= HEAD && (bytes[HEAD - 1] == WAS_THERE || bytes[HEAD - 1] == WAS_NEW);
    if (out->known)
        memcpy(out->after.bytes, bytes, sizeof out->after.bytes);
    if (out->known && bytes[HEAD - 1] == WAS_THERE) {
        out->before_length = length - HEAD;
        memmove(bytes, bytes + HEAD, out->before_length);
        out->before = bytes;
        return true;
    }
    free(bytes);
    return out->known;
}
