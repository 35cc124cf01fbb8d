/* Figures as people read them. Each writes to out and returns it. */
#ifndef KG_TUI_FIGURES_H
#define KG_TUI_FIGURES_H

#include <stdint.h>

#define KG_FIGURE 32 /* bytes that are always enough */

const char *kg_figure_count(char out[KG_FIGURE], uint64_t count);     /* 29,874 */
const char *kg_figure_bytes(char out[KG_FIGURE], uint64_t bytes);     /* 312 MB */
const char *kg_figure_seconds(char out[KG_FIGURE], double seconds);   /* 41 ms, 1.2 s, 3 min 20 s */
const char *kg_figure_rate(char out[KG_FIGURE], double per_second);   /* 8.4, 34, 123 */
const char *kg_figure_age(char out[KG_FIGURE], uint64_t now, uint64_t then); /* "5 min ago", "3 days ago"; seconds since 1970 */

#endif
