/* Files in context as the interface knows them: the text of a KG_EVENT_FILES, which is, for each file, its path, its tokens, its
 * kg_read_name, why it is there, "pinned", "talk" or "", and how many of its tokens were read again, each ended by a NUL byte.
 */
#ifndef KG_TUI_CONTEXT_FILES_H
#define KG_TUI_CONTEXT_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Whether a file had to be read. */
enum kg_read {
    KG_READ_DUE,    /* it will be, before the next answer */
    KG_READ_CACHED, /* it was not: what had been read was kept */
    KG_READ_NOW     /* it was, in this run */
};

struct kg_context_file {
    const char *path, *why;
    uint64_t tokens;
    enum kg_read read;
    bool pinned;
    bool talk; /* a question with its answer, or a summary: path is how it begins */
    uint64_t again; /* of its tokens: were read a second time, in sight of the files before it */
};

/* The file at *at, which then stands behind it; false at the end. */
bool kg_context_file_next(const char *files, size_t length, size_t *at, struct kg_context_file *out);
void kg_context_file_write(FILE *stream, const struct kg_context_file *file);
const char *kg_read_name(enum kg_read read); /* "to be read", "cached", "read" */

/* What the worker remembers of each path. */
struct kg_origins;
struct kg_origins *kg_origins_create(void); /* NULL when out of memory */
void kg_origins_free(struct kg_origins *origins); /* NULL is fine */
void kg_origins_clear(struct kg_origins *origins);
/* why is copied; NULL: as before. What there is no memory for is not remembered. */
void kg_origin_set(struct kg_origins *origins, const char *path, const char *why, enum kg_read read);
/* why: "" when nothing is known. */
enum kg_read kg_origin_of(const struct kg_origins *origins, const char *path, const char **why);

#endif
