#include "tests/faults/failing_memory.h"

#include <sqlite3.h>
#include <stdlib.h>

static sqlite3_mem_methods beneath;
static bool active, only_once;
static uint64_t count, fail_at;

static bool fails(void)
{
    if (!active)
        return false;
    uint64_t n = count++;
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
    active = true;
    only_once = once;
    count = 0;
    fail_at = at;
}

uint64_t failing_memory_count(void)
{
    return count;
}

void failing_memory_end(void)
{
    active = false;
}
