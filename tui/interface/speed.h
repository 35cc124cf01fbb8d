/* How fast this machine reads with a model: measured when it reads, remembered from run to run. */
#ifndef KG_TUI_SPEED_H
#define KG_TUI_SPEED_H

#include <stdint.h>

/* Tokens a second that were measured last for this model and device; 0 when never, or the file (path) is not there. */
double kg_speed_recall(const char *path, const char *model, const char *device);
/* Remembers it; a file that cannot be written is no loss. */
void kg_speed_remember(const char *path, const char *model, const char *device, double tokens_per_s);
/* A guess before anything was measured: reading costs about two operations a weight. */
double kg_speed_guess(uint64_t model_bytes, uint32_t threads);

#endif
