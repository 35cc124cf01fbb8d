/* The difference of two texts, hunk by hunk (libgit2), of which some are taken. */
#ifndef KG_CHANGES_HUNKS_H
#define KG_CHANGES_HUNKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

struct kg_hunks;

struct kg_hunk_line {
    char origin; /* ' ', '-' or '+' */
    const char *text; /* without its end */
    size_t length;
    bool last_without_feed; /* of its text: no line feed behind it */
};

/* before NULL: a new file. Both are copied. KG_ERR_UNSUPPORTED: binary. Nothing differs: no hunks. */
enum kg_status kg_hunks_of(const char *before, size_t before_length, const char *after, size_t after_length, struct kg_hunks **out, struct kg_error *err);
void kg_hunks_free(struct kg_hunks *hunks); /* NULL is fine */

size_t kg_hunk_count(const struct kg_hunks *hunks);
/* "@@ -12,5 +12,6 @@ int main(void)", printable. */
const char *kg_hunk_header(const struct kg_hunks *hunks, size_t hunk);
size_t kg_hunk_lines(const struct kg_hunks *hunks, size_t hunk);
struct kg_hunk_line kg_hunk_line(const struct kg_hunks *hunks, size_t hunk, size_t line);

/* What the hunk's lines become: to be edited, and taken back from an editor; its lines and header are then those of the difference
 * that it makes. The text is copied. False when out of memory: nothing changed. */
const char *kg_hunk_after(const struct kg_hunks *hunks, size_t hunk, size_t *length);
bool kg_hunk_set_after(struct kg_hunks *hunks, size_t hunk, const char *text, size_t length);

/* The text before with the hunks for which taken[hunk] is set; freed by the caller, NULL when out of memory. */
char *kg_hunks_apply(const struct kg_hunks *hunks, const bool *taken, size_t *length);

/* A unified diff as git prints it, with names under a/ and b/; freed by the caller, NULL when out of memory. Bytes of the texts
 * are as they are. */
char *kg_unified_diff(const char *path, const char *before, size_t before_length, const char *after, size_t after_length, size_t *length);

#endif
