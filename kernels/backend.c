#include "kernels/backend.h"

#include <string.h>

#include "kernels/cuda/load.h"

const struct kg_backend *kg_backend_find(const char *name)
{
    static const struct kg_backend *const backends[] = { &kg_backend_ref, &kg_backend_cpu };
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        if (strcmp(backends[i]->name, name) == 0)
            return backends[i];
    }
    return strcmp(name, "cuda") == 0 ? kg_cuda_load() : NULL;
}
