/* kv.lock: who uses kv.db, told by byte-range locks that the kernel drops when a process dies.
 *
 *   byte 0        held shared by every open store; exclusively while kv.db is renamed or wiped
 *   byte 1        the gate: held while a store opens
 *   byte 16 + id  held shared by every store whose sessions use block id
 *
 * Locks belong to the open file (F_OFD_SETLK), so two stores of one process see each other as well. A descriptor of -1
 * (a file system without locks) means that nothing is known of others: blocks are free, the file never is ours alone.
 */
#ifndef KG_ENGINE_KV_LOCK_H
#define KG_ENGINE_KV_LOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum kg_status kg_kv_lock_open(const char *path, int *fd, struct kg_error *err);
/* Waits for the gate for up to ms; KG_ERR_BUSY. Then holds byte 0 as well. */
enum kg_status kg_kv_lock_enter(int fd, int ms, struct kg_error *err);
void kg_kv_lock_leave_gate(int fd);
/* Inside the gate: whether no other store is open. If so byte 0 is held exclusively until kg_kv_lock_share. */
bool kg_kv_lock_alone(int fd);
void kg_kv_lock_share(int fd);

void kg_kv_lock_use(int fd, int64_t block);
void kg_kv_lock_drop(int fd, int64_t block);
bool kg_kv_lock_used_elsewhere(int fd, int64_t block);

#endif
