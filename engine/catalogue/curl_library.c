#include "engine/catalogue/curl_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>

#define LIBRARY "libcurl.so.4"

static struct kg_curl loaded;
static bool whole;

static void load(void)
{
    static const struct {
        const char *name;
        void *at;
    } symbols[] = {
        { "curl_global_init", &loaded.global_init },   { "curl_easy_init", &loaded.easy_init },       { "curl_easy_setopt", &loaded.easy_setopt },
        { "curl_easy_getinfo", &loaded.easy_getinfo }, { "curl_easy_perform", &loaded.easy_perform }, { "curl_easy_cleanup", &loaded.easy_cleanup },
        { "curl_easy_strerror", &loaded.easy_strerror },
    };
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    whole = library != NULL;
    for (size_t i = 0; whole && i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        memcpy(symbols[i].at, &symbol, sizeof symbol);
        whole = symbol != NULL;
    }
    whole = whole && loaded.global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
}

enum kg_status kg_curl_load(const struct kg_curl **out, struct kg_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!whole)
        return kg_fail(err, KG_ERR_UNSUPPORTED, "%s cannot be loaded; install libcurl 4", LIBRARY);
    *out = &loaded;
    return KG_OK;
}
