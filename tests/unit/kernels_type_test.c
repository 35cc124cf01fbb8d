#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "kernels/backend.h"
#include "kernels/type.h"
#include "tests/unit/kernels_type_golden.h"
#include "tests/unit/quantise.h"
#include "tests/unit/seeded.h"

static void values_equal_those_of_the_gguf_package(void **state)
{
    (void)state;
    for (size_t g = 0; g < sizeof golden / sizeof *golden; g++) {
        uint8_t block[256];
        size_t size = strlen(golden[g].hex) / 2;
        assert_true(size <= sizeof block);
        for (size_t i = 0; i < size; i++) {
            unsigned byte;
            assert_int_equal(sscanf(golden[g].hex + 2 * i, "%2x", &byte), 1);
            block[i] = (uint8_t)byte;
        }
        uint32_t elements, bytes;
        assert_true(kg_type_layout(golden[g].type, &elements, &bytes));
        size_t n = size / bytes * elements;
        double values[256], largest = 0;
        kg_dequantise(golden[g].type, block, n, values);
        for (size_t i = 0; i < n; i++)
            largest = fmax(largest, fabs(values[i]));
        assert_true(largest > 0);
        for (size_t i = 0; i < n; i++) {
            double slack = golden[g].type == KG_F16 || golden[g].type == KG_BF16 ? fabs(values[i]) : largest;
            if (!(fabs(values[i] - golden[g].values[i]) <= 1e-6 * slack))
                fail_msg("%s, element %zu: %.9g, should be %.9g", kg_type_name(golden[g].type), i, values[i], golden[g].values[i]);
        }
    }
}

/* Scales and codes that can be told by hand: halves to even, subnormal scales, and what is no number. */
static void numbers_of_8_bits_are_the_nearest(void **state)
{
    static const struct {
        double most, x[6];
        uint16_t scale;
        int8_t code[6];
    } cases[] = {
        { 127, { 0.5, 1.5, 2.5, -0.5, -3.5, 126.6 }, 0x3c00, { 0, 2, 2, 0, -4, 127 } },
        { -254, { 1, 3, -5, 253, -0.0, 2 }, 0x4000, { 0, 2, -2, 126, 0, 1 } },
        { 127 * 0x1p-24, { 0x1p-24, -0x1p-25, 0x3p-25, 0, 0x7fp-24, 1e-300 }, 0x0001, { 1, 0, 2, 0, 127, 0 } },
        { 180 * 0x1p-24, { 0x1p-24, -180 * 0x1p-24, 0x80p-24, 0, 0, 0 }, 0x0001, { 1, -127, 127, 0, 0, 0 } },
        { 63 * 0x1p-24, { 0x1p-24, 63 * 0x1p-24, 0, 0, 0, 0 }, 0x0000, { 0 } },
        { 0, { 0, -0.0, 0, 0, 0, 0 }, 0x0000, { 0 } },
        { 1e30, { 1, -1e30, 0, 0, 0, 0 }, 0x7c00, { 0 } },
        { 1, { (double)INFINITY, 1, 0, 0, 0, 0 }, 0x7e00, { 0 } },
        { 1, { 1, 1, (double)NAN, 1, 1, 1 }, 0x7e00, { 0 } },
        { 1, { 0, 0, 0, 0, 0, -(double)INFINITY }, 0x7e00, { 0 } },
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        double x[64] = { 0 };
        uint8_t out[68];
        memcpy(x + 32, cases[c].x, sizeof cases[c].x);
        x[63] = cases[c].most;
        kg_q8_0_from_double(out, x, 64);
        for (unsigned i = 0; i < 34; i++)
            assert_int_equal(out[i], 0); /* the others are on their own */
        assert_int_equal(out[34] | out[35] << 8, cases[c].scale);
        for (unsigned i = 0; i < 6; i++)
            assert_int_equal((int8_t)out[36 + i], cases[c].code[i]);
    }
}

static void every_half_survives_and_ties_go_to_even(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 0x10000; bits++) {
        double x = kg_f16_to_double((uint16_t)bits);
        if (isnan(x))
            assert_int_equal(kg_f16_from_double(x) & 0x7fff, 0x7e00);
        else
            assert_int_equal(kg_f16_from_double(x), bits);
    }
    for (unsigned bits = 0; bits < 0x7bff; bits++) {
        double low = kg_f16_to_double((uint16_t)bits), high = kg_f16_to_double((uint16_t)(bits + 1)), middle = (low + high) / 2;
        assert_int_equal(kg_f16_from_double(middle), bits + (bits & 1));
        assert_int_equal(kg_f16_from_double(nextafter(middle, 0)), bits);
        assert_int_equal(kg_f16_from_double(-nextafter(middle, 1e9)), (bits + 1) | 0x8000);
    }
    assert_int_equal(kg_f16_from_double(65519.999), 0x7bff);
    assert_int_equal(kg_f16_from_double(65520), 0x7c00);
    assert_int_equal(kg_f16_from_double(-1e300), 0xfc00);
    assert_int_equal(kg_f16_from_double(1e-300), 0);
}

static void unknown_types_are_refused(void **state)
{
    (void)state;
    uint32_t elements, bytes;
    for (int type = -2; type < 64; type++) {
        bool known = type == 0 || type == 1 || type == 2 || type == 3 || (type >= 6 && type <= 8) ||
                     (type >= 12 && type <= 14) || type == 30;
        assert_int_equal(kg_type_layout((enum kg_type)type, &elements, &bytes), known);
        assert_int_equal(strcmp(kg_type_name((enum kg_type)type), "unknown type") != 0, known);
    }
}

/* Root mean square of the rounding of normally distributed values, as a share of their deviation, that
 * each type must stay below; and above a fifth of which it cannot be, having so few codes. */
static void rounded_values_come_back(void **state)
{
    (void)state;
    static const struct {
        enum kg_type type;
        double share;
    } expected[] = { { KG_F32, 1e-7 },  { KG_F16, 5e-4 },  { KG_BF16, 4e-3 }, { KG_Q4_0, 0.11 }, { KG_Q4_1, 0.1 }, { KG_Q5_0, 0.06 },
                     { KG_Q5_1, 0.05 }, { KG_Q8_0, 0.01 }, { KG_Q4_K, 0.1 },  { KG_Q5_K, 0.05 }, { KG_Q6_K, 0.03 } };
    uint64_t seed = 1;
    double x[4096], back[4096];
    uint8_t blocks[4096 * 4];
    for (size_t i = 0; i < 4096; i++)
        x[i] = 3 * seeded_normal(&seed);
    for (size_t e = 0; e < sizeof expected / sizeof *expected; e++) {
        double squares = 0;
        quantise(expected[e].type, x, 4096, blocks);
        kg_dequantise(expected[e].type, blocks, 4096, back);
        for (size_t i = 0; i < 4096; i++)
            squares += (back[i] - x[i]) * (back[i] - x[i]);
        double share = sqrt(squares / 4096) / 3;
        if (!(share < expected[e].share && share > expected[e].share / 5))
            fail_msg("%s: rms %g", kg_type_name(expected[e].type), share);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_equal_those_of_the_gguf_package),
        cmocka_unit_test(rounded_values_come_back),
        cmocka_unit_test(numbers_of_8_bits_are_the_nearest),
        cmocka_unit_test(every_half_survives_and_ties_go_to_even),
        cmocka_unit_test(unknown_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
