/* What kernels/cuda/pack.h has to compute: planes made of blocks by plain C. */
#ifndef KG_TESTS_EMULATOR_PACK_PLANES_H
#define KG_TESTS_EMULATOR_PACK_PLANES_H

#include "kernels/cuda/planes.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fills `bits` (layout->bytes) from blocks in file order. */
void kg_planes_pack(enum kg_type type, const struct kg_planes *layout, const void *blocks, uint8_t *bits);

#ifdef __cplusplus
}
#endif
#endif
