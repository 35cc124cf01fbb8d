/* The kernels in AVX2 (with FMA and F16C). */
#include "kernels/cpu/isa.h"
#include "kernels/cpu/lanes_avx2.h"
#include "kernels/cpu/isa_operations.h"

const struct kg_isa kg_isa_avx2 = { .name = "avx2", .describe = "AVX2", KG_ISA_OPERATIONS };
