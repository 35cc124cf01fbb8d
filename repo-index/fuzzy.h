/* How well a path matches a few typed characters, in the manner of fzf: in order, not necessarily adjacent; better at the
 * beginning of words, together, and in the file's name.
 */
#ifndef KG_INDEX_FUZZY_H
#define KG_INDEX_FUZZY_H

#include <stdbool.h>

/* A larger score is better; 0 = no match. Upper case in the pattern matches upper case only. The quick score is that of the
 * first alignment found, the best score that of the best one. */
int kg_fuzzy_quick(const char *pattern, const char *path, const char *name);
int kg_fuzzy_best(const char *pattern, const char *path, const char *name);

#endif
