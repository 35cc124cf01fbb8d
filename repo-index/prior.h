/* What kind of file a path names, as far as that tells which questions it may answer. */
#ifndef KG_INDEX_PRIOR_H
#define KG_INDEX_PRIOR_H

#include "repo-index/question.h"

/* How much rather, from experience, questions about code are about this kind of file: 0 to 1. */
double kg_prior_of(const struct kg_question *question, const struct kg_catalog_file *file);

/* The same, were the question about tests too. */
double kg_prior_with_tests(const struct kg_question *question, const struct kg_catalog_file *file);

/* Sets the file's place, priors and whether it is a test from its path and name, once. beside: a file of the same directory that
 * has them, or NULL. */
void kg_prior_prepare(struct kg_catalog_file *file, const struct kg_catalog_file *beside);

/* How much a file speaks of the project as a whole: 0 to 1. */
double kg_describes_project(const struct kg_catalog_file *file);

/* Whether one of the names (NULL at the end), in any case, is a component of the path, but for its extension. */
bool kg_path_has_part(const char *path, const char *const *names);

#endif
