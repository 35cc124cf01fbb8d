/* SQLite's allocator, made to fail at a chosen allocation. */
#ifndef KG_TESTS_FAILING_MEMORY_H
#define KG_TESTS_FAILING_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

void failing_memory_install(void); /* before SQLite is used */
/* Allocation number `at` from now on fails, and all behind it unless `once`. */
void failing_memory_begin(uint64_t at, bool once);
uint64_t failing_memory_count(void);
void failing_memory_end(void);

#endif
