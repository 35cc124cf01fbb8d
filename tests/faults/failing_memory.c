#include "tests/faults/failing_memory.h"

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>

static sqlite3_mem_methods beneath;
static atomic_bool active;
static bool only_once;
static atomic_uint_fast64_t count;
static uint64_t fail_at;

static bool fails(void)
{
    if (!active)
        return false;
    uint64_t n = atomic_fetch_add(&count, 1);
    return only_once ? n == fail_at : n >= fail_at;
}

static void *x_malloc(int n)
{
    return fails() ? NULL : beneath.xMalloc(n);
}

static void *x_realloc(void *p, int n)
{
    return fails() ? NULL : beneath.xRealloc(p, n);
}

void failing_memory_install(void)
{
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &beneath) != SQLITE_OK)
        abort();
    sqlite3_mem_methods ours = beneath;
    ours.xMalloc = x_malloc;
    ours.xRealloc = x_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) != SQLITE_OK)
        abort();
}

void failing_memory_begin(uint64_t at, bool once)
{
    only_once = once;
    fail_at = at;
    count = 0;
    active = true;
}

uint64_t failing_memory_count(void)
{
    return count;
}

void failing_memory_end(void)
{
    active = false;
}
