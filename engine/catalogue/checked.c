#include "engine/catalogue/checked.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define JOURNAL "checked-models"
#define JOURNAL_MAX ((size_t)64 << 10)
#define LINE_MAX_BYTES 256
#define LINES_MAX 64

/* "DEVICE INODE SIZE MTIME.NS CTIME.NS " */
static void identity_of(const struct stat *st, char out[LINE_MAX_BYTES])
{
    snprintf(out, LINE_MAX_BYTES, "%ju %ju %jd %jd.%09ld %jd.%09ld ", (uintmax_t)st->st_dev, (uintmax_t)st->st_ino,
             (intmax_t)st->st_size, (intmax_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec, (intmax_t)st->st_ctim.tv_sec,
             st->st_ctim.tv_nsec);
}

/* The journal's text, NULL when there is none. The caller frees. */
static char *read_journal(char path[KG_PATH_MAX])
{
    char *text = NULL;
    size_t length;
    if (kg_place_path(KG_PLACE_CACHE, JOURNAL, path, NULL) != KG_OK)
        return NULL;
    return kg_read_file(path, JOURNAL_MAX, &text, &length, NULL) == KG_OK ? text : NULL;
}

static bool remembered(const struct stat *st, const char *sha256)
{
    char path[KG_PATH_MAX], line[LINE_MAX_BYTES];
    char *text = read_journal(path);
    identity_of(st, line);
    size_t used = strlen(line);
    snprintf(line + used, sizeof line - used, "%s\n", sha256);
    bool found = false;
    for (const char *at = text; at && !found; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
        found = strncmp(at, line, strlen(line)) == 0;
    free(text);
    return found;
}

/* Newest first; what is known of another state of the same inode is dropped. */
void kg_checked_remember(const char *path, const char *sha256)
{
    char journal[KG_PATH_MAX], directory[KG_PATH_MAX], line[LINE_MAX_BYTES], inode[LINE_MAX_BYTES];
    struct stat st;
    if (stat(path, &st) != 0 || kg_place_path(KG_PLACE_CACHE, NULL, directory, NULL) != KG_OK || kg_make_dirs(directory, NULL) != KG_OK)
        return;
    char *old = read_journal(journal);
    char *text = calloc(LINES_MAX, LINE_MAX_BYTES);
    identity_of(&st, line);
    int same = snprintf(inode, sizeof inode, "%ju %ju ", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    if (text) {
        size_t used = (size_t)snprintf(text, LINE_MAX_BYTES, "%s%s\n", line, sha256);
        char *rest = old;
        for (unsigned lines = 1; rest && lines < LINES_MAX; lines++) {
            const char *known = strsep(&rest, "\n");
            if (strlen(known) < LINE_MAX_BYTES - 1 && *known && strncmp(known, inode, (size_t)same) != 0)
                used += (size_t)sprintf(text + used, "%s\n", known);
        }
        kg_write_file(journal, text, used, 0600, NULL);
    }
    free(text);
    free(old);
}

enum kg_status kg_checked_file(const char *path, const struct kg_catalogue_model *model, int (*progress)(void *ctx, uint64_t done),
                               void *ctx, struct kg_error *err)
{
    struct stat before, after;
    struct kg_digest digest;
    char hex[65];
    if (stat(path, &before) != 0)
        return kg_fail(err, errno == ENOENT || errno == ENOTDIR ? KG_ERR_NOT_FOUND : KG_ERR_IO, "cannot examine %s: %s", path, strerror(errno));
    if (!S_ISREG(before.st_mode) || (uint64_t)before.st_size != model->bytes)
        return kg_fail(err, KG_ERR_CORRUPT, "%s has %jd bytes, the model %s has %" PRIu64 "; 'kedge model get %s' fetches the right one", path,
                       (intmax_t)before.st_size, model->name, model->bytes, model->name);
    if (remembered(&before, model->sha256))
        return KG_OK;
    enum kg_status status = kg_digest_file(path, &digest, progress, ctx, err);
    if (status != KG_OK)
        return status;
    kg_digest_hex(&digest, hex);
    if (strcmp(hex, model->sha256) != 0)
        return kg_fail(err, KG_ERR_CORRUPT, "%s does not have the SHA-256 of the model %s; 'kedge model get %s' fetches the right one",
                       path, model->name, model->name);
    if (stat(path, &after) == 0 && memcmp(&before.st_mtim, &after.st_mtim, sizeof after.st_mtim) == 0 && before.st_ino == after.st_ino)
        kg_checked_remember(path, model->sha256);
    return KG_OK;
}
