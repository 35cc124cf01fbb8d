/* What the edits of an answer make of the files they name: the new contents, found exactly or by a bounded search that says so,
 * or a refusal. Nothing is written.
 */
#ifndef KG_CHANGES_PROPOSAL_H
#define KG_CHANGES_PROPOSAL_H

#include "tui/changes/answer.h"

/* A file that the model was shown. Contents are bytes of any kind; ends of lines and a missing last line feed are kept. */
struct kg_shown_file {
    const char *path;  /* relative to the root of the repository */
    const char *text;
    size_t length;
    uint32_t first, last; /* KG_FORM_REGION: the lines asked about, 1-based, inclusive; first = last + 1: between two lines */
};

struct kg_change {
    char *path;
    char *before; /* NULL: the file is new */
    size_t before_length;
    char *after;
    size_t after_length;
    char *said;   /* what was not exact, one line each, printable; NULL = all of it was exact */
};

struct kg_proposal {
    struct kg_change *changes; /* of one file each, in the order in which the answer names them; none is without effect */
    size_t count;
    bool cut; /* the answer was cut off: these are its edits that were complete, perhaps not all that was meant */
    bool same; /* KG_ERR_NOT_FOUND: what the answer writes is what is there */
};

/* Where to look for a file that the model was not shown; it may be changed by KG_FORM_SEARCH only. KG_ERR_NOT_FOUND: there is
 * none, so it may be made. The caller of read frees *text. */
struct kg_more_files {
    enum kg_status (*read)(void *ctx, const char *path, char **text, size_t *length, struct kg_error *err);
    void *ctx;
};

/* All edits of an ended answer or none. Definitions under no path, or under that of a file that has none of them, are those of the
 * one file shown that has them; a whole file that is some of its definitions replaces those: both are said. more may be NULL:
 * then only files that were shown are changed or made.
 * KG_ERR_NOT_FOUND: there is no edit in the answer, or what one looks for is not in its file; KG_ERR_RANGE: it stands there more
 * than once; KG_ERR_UNSUPPORTED: the path may not be written (worktree.h), or the text leaves something out ("... rest of code");
 * KG_ERR_FORMAT: the answer is cut off within the only edit, or cannot be understood. *out is to be freed whatever is returned. */
enum kg_status kg_proposal_of(const struct kg_answer *answer, const struct kg_shown_file *files, size_t count, const struct kg_more_files *more,
                              struct kg_proposal *out, struct kg_error *err);
void kg_proposal_free(struct kg_proposal *proposal);

#endif
