#include "tui/interface/speed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/paths.h"

#define FILE_MOST ((size_t)64 << 10)
#define LINES_MOST 50
#define BYTES_PER_S_AND_THREAD 40e9 /* file bytes times tokens: seen on one core with 256-bit vectors */

/* One line each: "123.4 model, device". */
static void key_of(char out[320], const char *model, const char *device)
{
    snprintf(out, 320, "%.140s, %.140s", model, device);
}

double kg_speed_recall(const char *path, const char *model, const char *device)
{
    char key[320], *text;
    size_t length;
    double speed = 0;
    if (kg_read_file(path, FILE_MOST, &text, &length, NULL) != KG_OK)
        return 0;
    key_of(key, model, device);
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *behind;
        double value = strtod(line, &behind);
        if (*behind == ' ' && strcmp(behind + 1, key) == 0 && value > 0 && value < 1e7)
            speed = value;
    }
    free(text);
    return speed;
}

void kg_speed_remember(const char *path, const char *model, const char *device, double tokens_per_s)
{
    char key[320], *old = NULL, *new = NULL;
    size_t length = 0;
    kg_read_file(path, FILE_MOST, &old, &length, NULL);
    key_of(key, model, device);
    FILE *memory = open_memstream(&new, &length);
    if (memory) {
        fprintf(memory, "%.1f %s\n", tokens_per_s, key);
        char *rest = old;
        for (unsigned lines = 1; rest && lines < LINES_MOST; lines++) {
            const char *line = strsep(&rest, "\n"), *behind = strchr(line, ' ');
            if (behind && strcmp(behind + 1, key) != 0)
                fprintf(memory, "%s\n", line);
        }
        if (fclose(memory) == 0)
            kg_write_file(path, new, length, 0600, NULL);
    }
    free(new);
    free(old);
}

double kg_speed_guess(uint64_t model_bytes, uint32_t threads)
{
    double guess = BYTES_PER_S_AND_THREAD * threads / (double)(model_bytes ? model_bytes : 1);
    return guess < 10 ? 10 : guess > 20000 ? 20000 : guess;
}
