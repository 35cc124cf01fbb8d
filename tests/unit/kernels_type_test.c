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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_equal_those_of_the_gguf_package),
        cmocka_unit_test(every_half_survives_and_ties_go_to_even),
        cmocka_unit_test(unknown_types_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
