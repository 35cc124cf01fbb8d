"""Operands: where registers, parameters and variables of a kernel are, and how they are read and written in C++."""
import re

from ptx.text import FLOATS, Unknown, bits_type, c_type, split

SPECIAL = {"%tid": "thread->index", "%ntid": "block.size", "%ctaid": "block.index", "%nctaid": "block.grid"}


class Operands:
    """What a kernel has: registers and memory of its own."""

    def __init__(self):
        self.parameters, self.parameter_bytes = {}, 0
        self.shared, self.shared_bytes = {}, 0
        self.local = {}
        self.registers = {}  # name -> PTX type
        self.line, self.sites = 0, 0
        self.work = {}

    def register(self, name):
        return name.replace("%", "r_").replace("$", "_")

    def width_of(self, name):
        kind = self.registers.get(name)
        if kind is None:
            raise Unknown(f"operand {name}")
        return kind

    def read(self, x, kind):
        """An expression of c_type(kind)."""
        t = c_type(kind)
        base, _, axis = x.partition(".")
        if base in SPECIAL:
            return f"{SPECIAL[base]}.{axis}"
        if x == "%laneid":
            return "thread->lane"
        if x == "WARP_SZ":
            return f"{t}{{32}}"
        hexadecimal = re.fullmatch(r"0[fFdD]([0-9a-fA-F]+)", x)
        if hexadecimal:
            bits = f"0x{hexadecimal[1]}{'u' if len(hexadecimal[1]) == 8 else 'ull'}"
            return f"f32_of({bits})" if kind == "f32" else f"f64_of({bits})" if kind == "f64" else bits
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", x):
            number = int(x.rstrip("U"), 0)
            return f"static_cast<{t}>({number & (1 << 64) - 1}ull)" if kind not in FLOATS else f"static_cast<{t}>({number})"
        if x in self.shared:
            return f"static_cast<{t}>({self.shared[x]})"
        if x in self.parameters:
            return f"{t}{{{self.parameters[x]}}}"
        if x in self.local:
            return f"reinterpret_cast<uint64_t>({self.local[x]})"
        if x.startswith("!"):
            return f"!{self.register(x[1:])}"
        own, r = self.width_of(x), self.register(x)
        if kind == "pred" or own == "pred":
            if kind != own:
                raise Unknown(f"operand {x} as {kind}")
            return r
        if kind == "f32":
            return f"f32_of({r})"
        if kind == "f64":
            return f"f64_of({r})"
        return f"static_cast<{t}>({r})"

    def write(self, x, value, kind):
        """A statement that stores a value of c_type(kind)."""
        if x == "_":
            return f"(void)({value});"
        own = self.width_of(x)
        if kind == "pred":
            return f"{self.register(x)} = {value};"
        if kind in FLOATS:
            value = f"bits_of({value})"
        else:
            value = f"static_cast<{c_type(kind)}>({value})"
        return f"{self.register(x)} = static_cast<{bits_type(own)}>({value});"

    def address(self, x):
        found = re.fullmatch(r"\[\s*([%\w$.]+)\s*(?:\+\s*(-?\w+))?\s*\]", x)
        return found[1], int(found[2] or "0", 0)

    def memory(self, x, space, access, size):
        """An expression for the first byte of a checked access of `size` bytes."""
        base, offset = self.address(x)
        if space == "local":
            return f"reinterpret_cast<unsigned char *>({self.read(base, 'u64')} + {offset})"
        if space == "shared":
            return f"shared_at<{access}, {size}>({self.read(base, 'u32')} + {offset & 0xffffffff}u, {self.line})"
        self.sites += 1
        return f"{space}_at<{access}, {size}>({self.read(base, 'u64')} + {offset}, site[{self.sites - 1}], {self.line})"

    def vector(self, x):
        return split(x[1:-1]) if x.startswith("{") else [x]

    def count(self, work, n=1):
        self.work[work] = self.work.get(work, 0) + n
