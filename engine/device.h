/* The device that computes, by the name that a person gives it. */
#ifndef KG_ENGINE_DEVICE_H
#define KG_ENGINE_DEVICE_H

#include "kernels/backend.h"

#define KG_CPU "cpu"

/* The one to try where nobody names one: a card where its backend and a driver are found, else the CPU. Static storage. */
const char *kg_best_device(void);

/* Opens "cpu", "ref", "cuda" or "cuda:N" (N a number of at most three digits). threads: 0 = all that the process may use.
 * KG_ERR_USAGE: there is none of that name. On failure *device is NULL. */
enum kg_status kg_open_device(const char *name, uint32_t threads, const struct kg_backend **backend, struct kg_device **device, struct kg_error *err);

#endif
