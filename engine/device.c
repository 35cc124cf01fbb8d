#include "engine/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CUDA "cuda"

const char *kg_best_device(void)
{
    return kg_backend_find(CUDA) ? CUDA : KG_CPU;
}

/* "cuda:12": the backend's name and the card. */
static bool take_apart(const char *name, char backend[16], uint32_t *card)
{
    const size_t length = strcspn(name, ":"), digits = name[length] ? strspn(name + length + 1, "0123456789") : 0;
    *card = 0;
    if (length >= 16)
        return false;
    memcpy(backend, name, length);
    backend[length] = '\0';
    if (!name[length])
        return true;
    *card = (uint32_t)strtoul(name + length + 1, NULL, 10);
    return strcmp(backend, CUDA) == 0 && digits >= 1 && digits <= 3 && !name[length + 1 + digits];
}

enum kg_status kg_open_device(const char *name, uint32_t threads, const struct kg_backend **backend, struct kg_device **device, struct kg_error *err)
{
    char of[16];
    struct kg_device_options options = { .threads = threads };
    *device = NULL;
    if (!take_apart(name, of, &options.card))
        return kg_fail(err, KG_ERR_USAGE, "there is no device '%.40s'; use best, cpu, cuda, cuda:N or ref", name);
    *backend = kg_backend_find(of);
    if (!*backend && strcmp(of, CUDA) == 0)
        return kg_fail(err, KG_ERR_UNSUPPORTED,
                       "no CUDA here: it needs an NVIDIA driver, and the libkedge-cuda.so of this kedge beside it (make cuda) or where make install-cuda puts it; use cpu");
    if (!*backend)
        return kg_fail(err, KG_ERR_USAGE, "there is no device '%s'; use best, cpu, cuda, cuda:N or ref", of);
    return (*backend)->open(&options, device, err);
}
