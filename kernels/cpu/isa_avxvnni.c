/* The kernels in AVX2 with VNNI, of processors that have no AVX-512. */
#include "kernels/cpu/isa.h"
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/isa_operations.h"

const struct kg_isa kg_isa_avxvnni = { .name = "avxvnni", .describe = "AVX2 VNNI", KG_ISA_OPERATIONS };
