#!/usr/bin/env python3
"""Prints kernels_type_golden.h: one random block of each quantised type and its values by the Python package gguf."""
import random

import gguf
import numpy

TYPES = ["F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
HALVES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}

random.seed(20240229)
print("/* Made by kernels_type_golden.py with the Python package gguf; values are the f32 that it computes. */")
print("static const struct {\n    enum kg_type type;\n    const char *hex;\n    double values[256];\n} golden[] = {")
for name in TYPES:
    kind = gguf.GGMLQuantizationType[name]
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = 8 if elements == 1 else 1
    block = bytearray(random.randbytes(size * count))
    for at in HALVES.get(name, []):
        block[at : at + 2] = numpy.float16(random.uniform(-0.05, 0.05)).tobytes()
    if elements == 1:
        plain = numpy.array([random.gauss(0, 1) * 10.0 ** random.randint(-5, 4) for _ in range(count)], dtype=numpy.float32)
        block = plain.astype(numpy.float16).tobytes() if name == "F16" else (plain.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes()
    values = gguf.dequantize(numpy.frombuffer(bytes(block), dtype=numpy.uint8).reshape(1, -1), kind).flatten()
    if name == "F16":
        values = numpy.frombuffer(block, dtype=numpy.float16).astype(numpy.float32)
    text = bytes(block).hex()
    print(f"    {{ KG_{name},")
    for i in range(0, len(text), 100):
        print(f'      "{text[i : i + 100]}"' + ("," if i + 100 >= len(text) else ""))
    rows = ["        " + ", ".join(f"{float(v):.9g}" for v in values[i : i + 8]) for i in range(0, len(values), 8)]
    print("      {\n" + ",\n".join(rows) + "\n      } },")
print("};")
