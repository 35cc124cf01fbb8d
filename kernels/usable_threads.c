/* How many threads this process may keep busy. */
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/thread_pool.h"

#define PATH_BYTES 4096

/* CPUs in the affinity mask; the mask is enlarged until the kernel's fits. */
static uint32_t affinity_cpus(void)
{
    for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set)
            break;
        bool known = sched_getaffinity(0, CPU_ALLOC_SIZE(cpus), set) == 0;
        int count = known ? CPU_COUNT_S(CPU_ALLOC_SIZE(cpus), set) : 0;
        CPU_FREE(set);
        if (known)
            return count > 0 ? (uint32_t)count : 1;
    }
    return 1;
}

static bool read_text(const char *path, char *text, size_t capacity)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    size_t n = fread(text, 1, capacity - 1, file);
    text[n] = '\0';
    fclose(file);
    return n > 0;
}

/* "MAX PERIOD" of cgroup v2, or the two files of v1; no limit ("max", -1) gives 0. */
static uint32_t quota_cpus(const char *folder)
{
    char path[PATH_BYTES + 32], text[64];
    double quota = 0, period = 0;
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (read_text(path, text, sizeof text)) {
        char *rest = text;
        quota = strtod(text, &rest);
        period = rest == text ? 0 : strtod(rest, NULL);
    } else {
        snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
        quota = read_text(path, text, sizeof text) ? strtod(text, NULL) : 0;
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        period = read_text(path, text, sizeof text) ? strtod(text, NULL) : 0;
    }
    if (quota <= 0 || period <= 0 || quota / period > 1e6)
        return 0;
    uint32_t whole = (uint32_t)(quota / period);
    return (double)whole < quota / period ? whole + 1 : whole;
}

/* The smallest quota of a cgroup and all above it. In a container the path may name folders that are not
 * mounted there; these are passed over. */
static uint32_t tightest_quota(const char *root, const char *group)
{
    char path[PATH_BYTES];
    if ((size_t)snprintf(path, sizeof path, "%s%s", root, group) >= sizeof path)
        return 0;
    uint32_t least = 0;
    for (;;) {
        uint32_t cpus = quota_cpus(path);
        if (cpus && (!least || cpus < least))
            least = cpus;
        char *slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) < strlen(root))
            return least;
        *slash = '\0';
    }
}

/* Does a comma-separated list hold the word "cpu"? */
static bool lists_cpu(const char *list)
{
    for (const char *word = list; word; word = strchr(word, ','), word = word ? word + 1 : NULL) {
        if (strcspn(word, ",") == 3 && strncmp(word, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* Lines are "0::PATH" for v2, "N:CONTROLLERS:PATH" for v1. */
uint32_t kg_thread_pool_quota(const char *root, const char *membership)
{
    FILE *file = fopen(membership, "re");
    char line[PATH_BYTES];
    uint32_t least = 0;
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        controllers++;
        if (*controllers && !lists_cpu(controllers))
            continue;
        char hierarchy[2 * PATH_BYTES];
        snprintf(hierarchy, sizeof hierarchy, "%s%s%s", root, *controllers ? "/" : "", controllers);
        const uint32_t cpus = tightest_quota(hierarchy, group);
        if (cpus && (!least || cpus < least))
            least = cpus;
    }
    if (file)
        fclose(file);
    return least;
}

uint32_t kg_thread_pool_usable_threads(void)
{
    const uint32_t cpus = affinity_cpus(), quota = kg_thread_pool_quota("/sys/fs/cgroup", "/proc/self/cgroup");
    return quota && quota < cpus ? quota : cpus;
}
