#include "kernels/cuda/load.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBJECT "libkedge-cuda.so"

static const struct kg_backend *loaded;

/* Objects stay open: their code may run until the process ends. */
static bool load(const char *path)
{
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object)
        return false;
    const uint64_t *form = dlsym(object, "kg_backend_cuda_form");
    if (form && *form == KG_BACKEND_FORM)
        loaded = dlsym(object, "kg_backend_cuda");
    return loaded != NULL;
}

static void load_once(void)
{
    static const char *const places[] = { "", "../lib/kedge/" };
    const char *named = getenv("KEDGE_CUDA");
    char program[4096], path[sizeof program + 64];
    if (named) {
        if (*named)
            load(named);
        return;
    }
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0 || !dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL))
        return;
    program[n] = 0;
    char *end = strrchr(program, '/');
    if (!end)
        return;
    end[1] = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        snprintf(path, sizeof path, "%s%s" OBJECT, program, places[i]);
        if (load(path))
            return;
    }
}

const struct kg_backend *kg_cuda_load(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_once);
    return loaded;
}
