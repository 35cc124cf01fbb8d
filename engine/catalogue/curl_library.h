/* Private to the catalogue: libcurl, loaded when something is to be fetched. It brings nineteen libraries of its own, half of what a
 * start of kedge would otherwise wait for, and hardly any start fetches anything.
 */
#ifndef KG_CURL_LIBRARY_H
#define KG_CURL_LIBRARY_H

#include <curl/curl.h>

#include <stdbool.h>

#include "base/status.h"

struct kg_curl {
    __typeof__(curl_global_init) *global_init;
    __typeof__(curl_easy_init) *easy_init;
    __typeof__(curl_easy_setopt) *easy_setopt;
    __typeof__(curl_easy_getinfo) *easy_getinfo;
    __typeof__(curl_easy_perform) *easy_perform;
    __typeof__(curl_easy_cleanup) *easy_cleanup;
    __typeof__(curl_easy_strerror) *easy_strerror;
};

/* Loaded and initialised once per process, static storage; KG_ERR_UNSUPPORTED when it is not installed. Any thread. */
enum kg_status kg_curl_load(const struct kg_curl **out, struct kg_error *err);

#endif
