/* The rules of one ignore file (gitignore(5)), matched as git matches them. */
#ifndef KG_INDEX_IGNORE_H
#define KG_INDEX_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

struct kg_ignore_rules;

enum kg_ignore_verdict { KG_IGNORE_SILENT, KG_IGNORE_YES, KG_IGNORE_NO };

/* NULL when out of memory. Any bytes are valid rules; a pattern that git takes for broken matches nothing. */
struct kg_ignore_rules *kg_ignore_parse(const char *text, size_t length);
void kg_ignore_free(struct kg_ignore_rules *rules);

/* What the last rule that matches says. path is relative to the directory of the ignore file; name is its last component,
 * inside path. The caller sees to it that nothing beneath an ignored directory is asked for. */
enum kg_ignore_verdict kg_ignore_match(const struct kg_ignore_rules *rules, const char *path, const char *name, bool is_dir);

/* git's wildmatch: `*` and `?` and [sets] stop at '/' when path is set, and then `**` between slashes crosses it. Linear in
 * pattern and text for each `**`, whatever the pattern. */
bool kg_glob_match(const char *pattern, size_t pattern_length, const char *text, bool path);

#endif
