/* Everything that is compiled once for each instruction set; the including file has included its vectors (lanes_*.h). */
#include <float.h>
#include <math.h>
#include <string.h>

#include "kernels/cpu/isa.h"

#include "kernels/cpu/rows_lanes.h"
#include "kernels/cpu/product_lanes.h"
#include "kernels/cpu/attend_lanes.h"
#include "kernels/cpu/index_lanes.h"
#include "kernels/cpu/recall_lanes.h"

#define KG_ISA_OPERATIONS                     \
    .quantise = quantise,                     \
    .products = KG_PRODUCTS,                  \
    .rmsnorm = rmsnorm,                       \
    .add = add,                               \
    .silu_mul = silu_mul,                     \
    .rotate = rotate,                         \
    .to_f16 = to_f16,                         \
    .expand_q8_0 = expand_q8_0,               \
    .segment = segment,                       \
    .join = join,                             \
    .divide = divide,                         \
    .index_page = index_page,                 \
    .index_scan = index_scan,                 \
    .sum_lanes = sum_lanes,                   \
    .listed_scores = listed_scores,           \
    .listed_weights = listed_weights,         \
    .listed_values = listed_values,           \
    .sum_exp = sum_exp,                       \
    .join_sums = join_sums,                   \
    .rank = rank,                             \
    .maxima = maxima,                         \
    .count_above = count_above,               \
    .find_above = find_above,                 \
    .read_all = read_all
