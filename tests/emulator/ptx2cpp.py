#!/usr/bin/env python3
"""Translates PTX, as nvcc writes it, to C++ for the emulator:  ptx2cpp.py FILE.ptx >FILE.cpp

Each kernel becomes a function that one thread runs from its beginning to its end. A register becomes a variable of its
width, an instruction a block, a label a label. An instruction, type or modifier that is not known (ptx/) is an error: one
that was passed over would make results wrong in silence.
"""
import re
import sys

sys.dont_write_bytecode = True
from ptx.kernel import Kernel  # noqa: E402
from ptx.text import Unknown  # noqa: E402


def body_at(text, start):
    """The end of the scope that was opened before start."""
    depth = 1
    while depth:
        depth += {"{": 1, "}": -1}.get(text[start], 0)
        start += 1
    return start


def main(path):
    with open(path, encoding="utf-8") as file:
        text = re.sub(r"/\*.*?\*/", "", re.sub(r"//[^\n]*", "", file.read()), flags=re.S)
    dynamic = re.findall(r"\.extern\s+\.shared[^;]*?\b([\w$]+)\[\]", text)
    for found in re.finditer(r"^(?:\.visible\s+)?\.(func|const|global)\b[^\n]*", text, re.M):
        sys.exit(f"{path}: not translated: {found[0]}")
    out = ['#include "tests/emulator/operations.h"', "using namespace emulator;"]
    kernels = []
    for found in re.finditer(r"\.entry\s+([\w$]+)\s*\((.*?)\)\s*((?:\.\w+[^{;]*?)*)\{", text, re.S):
        kernel = Kernel(found[1], len(kernels))
        table = kernel.add_parameters(found[2])
        for name in dynamic:
            kernel.shared[name] = "block.dynamic"
        try:
            kernel.translate_body(text[found.end():body_at(text, found.end()) - 1])
        except Unknown as what:
            sys.exit(f"{path}: {found[1]}, line {kernel.line}: not translated: {what}")
        out.append(kernel.source())
        out.append(f"static const Parameter parameters_{kernel.number}[] = {{ {', '.join(table) or '{0, 0}'} }};")
        kernels.append(f'{{ "{found[1]}", kernel_{kernel.number}, parameters_{kernel.number}, {len(table)}, {kernel.parameter_bytes}, {kernel.shared_bytes} }},')
    out.append("static const Kernel kernels[] = {\n" + "\n".join(kernels) + "\n};")
    out.append(f"static const Registration registration(kernels, {len(kernels)});")
    print("\n".join(out))


main(sys.argv[1])
