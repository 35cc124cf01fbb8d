#include "tui/interface/figures.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *kg_figure_count(char out[KG_FIGURE], uint64_t count)
{
    char digits[KG_FIGURE];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, count);
    char *to = out;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

const char *kg_figure_bytes(char out[KG_FIGURE], uint64_t bytes)
{
    static const char *const units[] = { "bytes", "kB", "MB", "GB", "TB", "PB", "EB" };
    double value = (double)bytes;
    unsigned unit = 0;
    for (; value >= 999.5 && unit < 6; unit++)
        value /= 1000;
    snprintf(out, KG_FIGURE, unit > 0 && value < 9.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

const char *kg_figure_seconds(char out[KG_FIGURE], double seconds)
{
    if (seconds < 0.9995)
        snprintf(out, KG_FIGURE, "%.0f ms", seconds * 1000);
    else if (seconds < 59.95)
        snprintf(out, KG_FIGURE, "%.1f s", seconds);
    else
        snprintf(out, KG_FIGURE, "%.0f min %d s", (double)(int)(seconds / 60), (int)seconds % 60);
    return out;
}

const char *kg_figure_rate(char out[KG_FIGURE], double per_second)
{
    snprintf(out, KG_FIGURE, per_second < 9.95 ? "%.1f" : "%.0f", per_second);
    return out;
}

const char *kg_figure_age(char out[KG_FIGURE], uint64_t now, uint64_t then)
{
    static const struct {
        uint64_t seconds;
        const char *name;
    } units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "min" } };
    uint64_t age = now > then ? now - then : 0;
    for (unsigned i = 0; i < 3; i++)
        if (age >= units[i].seconds) {
            uint64_t n = age / units[i].seconds;
            snprintf(out, KG_FIGURE, "%" PRIu64 " %s%s ago", n, units[i].name, n > 1 && i < 2 ? "s" : "");
            return out;
        }
    strcpy(out, "just now");
    return out;
}
