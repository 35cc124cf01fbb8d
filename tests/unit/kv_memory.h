/* A backend that holds pages in host memory and computes nothing: for tests of contexts and caches. */
#ifndef KG_TESTS_KV_MEMORY_H
#define KG_TESTS_KV_MEMORY_H

#include "kernels/backend.h"

/* Only kv_create, kv_reserve, kv_free, kv_export, kv_import, index_export and index_import are there; the device is NULL. */
extern const struct kg_backend kv_memory_backend;

/* The next so many calls of kv_reserve (kv_export) succeed, then they fail; negative: never. */
extern int kv_memory_reserves_left, kv_memory_exports_left;

/* The bytes of a page. */
unsigned char *kv_memory_page(struct kg_kv *kv, uint32_t page);

#endif
