/* Blocks that are filled from kv.db behind the back of whoever goes on: a thread with a connection of its own. */
#ifndef KG_ENGINE_KV_STREAM_H
#define KG_ENGINE_KV_STREAM_H

#include "engine/cache/kv_file.h"

/* What was offered is brought no further; what comes of it is what is there. */
void kg_kv_stream_end(struct kg_kv_store *store);
/* Waits until nothing is on its way and the thread's connection is closed. */
void kg_kv_stream_rest(struct kg_kv_store *store);

#endif
