/* universal-ctags as one long-lived process that sees contents by stdin and nothing else: no configuration file, no
 * directory of the repository, no environment; in its own sandbox where it has one. It is bounded in time, memory and
 * output, and started again when it dies or stalls.
 */
#ifndef KG_INDEX_CTAGS_H
#define KG_INDEX_CTAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kg_ctags;

enum kg_ctags_outcome {
    KG_CTAGS_DONE,    /* also for texts in languages that it does not know: no tags */
    KG_CTAGS_FAILED,  /* on this text: it died, took too long or said too much */
    KG_CTAGS_MISSING, /* there is none, or it fails again and again */
};

struct kg_ctag {
    const char *name, *kind; /* any bytes but NUL */
    const char *scope, *scope_kind; /* "" = none */
    uint32_t line, end; /* 1-based; end 0 = not known */
};

/* Looks for the program in the absolute directories of PATH; starts nothing yet. NULL when out of memory. */
struct kg_ctags *kg_ctags_new(void);
/* Whether a program was found, and has not been given up. */
bool kg_ctags_present(const struct kg_ctags *ctags);
void kg_ctags_free(struct kg_ctags *ctags);

/* Only the last component of path counts, for the language. each may have been called for some tags when it fails. */
enum kg_ctags_outcome kg_ctags_read(struct kg_ctags *ctags, const char *path, const char *text, size_t length, void (*each)(void *ctx, const struct kg_ctag *tag), void *ctx);

/* The process at work, or -1: for tests. */
int kg_ctags_process(const struct kg_ctags *ctags);

#endif
