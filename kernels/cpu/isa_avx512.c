/* The kernels in AVX-512 with VNNI. */
#include "kernels/cpu/isa.h"
#include "kernels/cpu/lanes_avx512.h"
#include "kernels/cpu/isa_operations.h"

const struct kg_isa kg_isa_avx512 = { .name = "avx512", .describe = "AVX-512 VNNI", KG_ISA_OPERATIONS };
