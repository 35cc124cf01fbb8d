/* A file system under SQLite that fails, fills up or loses power at a chosen operation.
 *
 * It wraps the default VFS and becomes the default itself. Files are real; of each the wrapper knows what has been
 * synced and what was written since. When the power fails every further operation fails, and lossy_reboot leaves of
 * each file what was synced plus, of what was not, a seeded choice of operations and of their 512-byte sectors.
 * Durable by sync: bytes and length of a file, and its name where it was created. A deletion may be undone until the
 * directory is synced, which SQLite does with the first sync of a new file. Syncs do not reach the disk, so that thousands of runs take seconds.
 */
#ifndef KG_TESTS_LOSSY_VFS_H
#define KG_TESTS_LOSSY_VFS_H

#include <stdbool.h>
#include <stdint.h>

enum lossy_fault {
    LOSSY_NONE,
    LOSSY_POWER,     /* from operation `at` on nothing happens any more */
    LOSSY_FULL_ONCE, /* that write finds no room */
    LOSSY_FULL,      /* that write and all that enlarge a file later find no room */
    LOSSY_IO_ONCE,   /* that read, write, sync, truncation or deletion fails */
    LOSSY_IO
};

void lossy_install(void);
/* Forgets all files and counts operations from 0. Operations are writes, syncs, truncations, deletions, creations, and
 * for LOSSY_IO* reads too. */
void lossy_begin(enum lossy_fault fault, uint64_t at, uint64_t seed);
/* The same while files are open, which are not forgotten: another fault from now on, or none. Not for LOSSY_POWER. */
void lossy_go_on(enum lossy_fault fault, uint64_t at);
uint64_t lossy_operations(void);
bool lossy_struck(void); /* the fault has happened */
/* After LOSSY_POWER, with all connections closed: the files as a machine finds them. */
void lossy_reboot(void);
/* The most bytes written to one file between two syncs of it, since lossy_begin. */
uint64_t lossy_largest_burst(void);

#endif
