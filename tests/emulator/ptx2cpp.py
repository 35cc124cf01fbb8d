#!/usr/bin/env python3
"""Translates PTX, as nvcc writes it, to C++ for the emulator:  ptx2cpp.py FILE.ptx >FILE.cpp

Each kernel becomes a function that one thread runs from its beginning to its end. A register becomes a variable of its
width, an instruction a block, a label a label. An instruction, type or modifier that is not known here is an error: one
that was passed over would make results wrong in silence.
"""
import re
import sys

WIDTH = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4, "u32": 4, "s32": 4, "f32": 4,
         "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8}
STORAGE = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
SIGNED = {1: "int8_t", 2: "int16_t", 4: "int32_t", 8: "int64_t"}
FLOATS = ("f32", "f64")
HALVES = ("f16", "bf16", "f16x2", "bf16x2")
ORDER = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
ROUND_WHOLE = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}
SPECIAL = {"%tid": "thread->index", "%ntid": "block.size", "%ctaid": "block.index", "%nctaid": "block.grid"}
CACHE_HINTS = {"nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "L1::no_allocate", "L2::128B", "L2::64B", "L2::256B"}
SPACES = ("global", "shared", "param", "local")


class Unknown(Exception):
    """An instruction that is not translated."""


def c_type(kind):
    """The C++ type that holds a value of a PTX type."""
    if kind == "pred":
        return "bool"
    if kind == "f32":
        return "float"
    if kind == "f64":
        return "double"
    return (SIGNED if kind[0] == "s" else STORAGE)[WIDTH[kind]]


def bits_type(kind):
    """The same width without a sign."""
    return "bool" if kind == "pred" else STORAGE[WIDTH[kind]]


def split(text):
    """Operands between commas, where {a, b} and [a] are one."""
    parts, depth, part = [], 0, ""
    for c in text:
        depth += (c in "{[") - (c in "}]")
        if c == "," and depth == 0:
            parts.append(part.strip())
            part = ""
        else:
            part += c
    if part.strip():
        parts.append(part.strip())
    return parts


class Instruction:
    """One instruction: its name, modifiers that nobody has asked for yet, types, and operands."""

    def __init__(self, text):
        found = re.match(r"(?:@(!?)(%?[\w$]+)\s+)?([\w.:]+)\s*(.*)$", text, re.S)
        self.text = text
        self.negated, self.guard, self.opcode = found[1], found[2], found[3]
        words = re.split(r"(?<!:)\.", self.opcode)
        self.name = words[0]
        self.types = [w for w in words[1:] if w in WIDTH or w == "pred"]
        self.modifiers = [w for w in words[1:] if w not in WIDTH and w != "pred"]
        self.operands = split(found[4])

    def take(self, *wanted):
        """The first of these modifiers that it has, or None; the modifier is then accounted for."""
        for word in wanted:
            if word in self.modifiers:
                self.modifiers.remove(word)
                return word
        return None

    def require(self, *wanted):
        word = self.take(*wanted)
        if word is None:
            raise Unknown(self.opcode)
        return word

    def finish(self):
        if self.modifiers:
            raise Unknown(f"{self.opcode} (modifier {' '.join(self.modifiers)})")


class Kernel:
    """The body of one kernel, while it is translated."""

    def __init__(self, name, number):
        self.name, self.number = name, number
        self.parameters, self.parameter_bytes = {}, 0
        self.shared, self.shared_bytes = {}, 0
        self.local = {}
        self.registers = {}  # name -> PTX type
        self.declared, self.code = [], []
        self.line, self.sites = 0, 0
        self.work = {}

    # operands

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

    # instructions

    def emit(self, code):
        self.code.append(code)

    def count(self, work, n=1):
        self.work[work] = self.work.get(work, 0) + n

    def close_run(self):
        """Instructions up to here are run together: one addition counts them."""
        if self.work:
            self.code[self.run_at] = " ".join(f"counters->work[{w}] += {n};" for w, n in self.work.items())
            self.work = {}

    def open_run(self):
        self.close_run()
        self.run_at = len(self.code)
        self.code.append("")

    def translate(self, text):
        i = Instruction(text)
        method = getattr(self, "op_" + i.name, None)
        if method is None:
            raise Unknown(i.opcode)
        code = method(i)
        i.finish()
        if i.guard:
            code = f"if ({'!' if i.negated else ''}{self.register(i.guard)}) {{ {code} }}"
        else:
            code = f"{{ {code} }}"
        self.emit(code)
        if i.name in ("bra", "ret", "exit"):
            self.open_run()

    def op_bra(self, i):
        i.take("uni")
        return f"goto L{self.number}_{i.operands[0].replace('$', '_')};"

    def op_ret(self, i):
        return "return;"

    op_exit = op_ret

    def op_mov(self, i):
        kind, (to, of) = i.types[0], i.operands
        if of.startswith("{"):
            parts = self.vector(of)
            part = {1: "b8", 2: "b16", 4: "b32"}[WIDTH[kind] // len(parts)]
            value = " | ".join(f"static_cast<{c_type(kind)}>({self.read(p, part)}) << {8 * WIDTH[part] * n}" for n, p in enumerate(parts))
            return self.write(to, value, kind)
        if to.startswith("{"):
            parts = self.vector(to)
            part = {1: "b8", 2: "b16", 4: "b32"}[WIDTH[kind] // len(parts)]
            return f"const auto x = {self.read(of, kind)}; " + " ".join(
                self.write(p, f"x >> {8 * WIDTH[part] * n}", part) for n, p in enumerate(parts))
        return self.write(to, self.read(of, kind), kind)

    def op_cvta(self, i):
        to, space, value = i.take("to"), i.require("global", "shared", "local"), self.read(i.operands[1], "u64")
        if space == "shared":
            value = f"{'generic_to_shared' if to else 'shared_to_generic'}({value})"
        return self.write(i.operands[0], value, "u64")

    def space_of(self, i):
        while i.take(*CACHE_HINTS):
            pass
        return i.take(*SPACES) or "generic"

    def op_ld(self, i):
        space, vector, kind = self.space_of(i), int((i.take("v2", "v4") or "v1")[1]), i.types[0]
        names = self.vector(i.operands[0])
        if space == "param":
            base, offset = self.address(i.operands[1])
            size = WIDTH[kind] * vector
            at = (f"parameters + {self.parameters[base] + offset}" if base in self.parameters else
                  f"parameter_at(parameters, {self.parameter_bytes}, {self.read(base, 'u64')} + {offset}, {size}, {self.line})")
        else:
            at = self.memory(i.operands[1], space, "READ", WIDTH[kind] * vector)
        return f"const unsigned char *at = {at}; " + " ".join(
            self.write(name, f"get<{c_type(kind)}>(at, {n})", kind) for n, name in enumerate(names))

    def op_st(self, i):
        space, vector, kind = self.space_of(i), int((i.take("v2", "v4") or "v1")[1]), i.types[0]
        at = self.memory(i.operands[0], space, "WRITE", WIDTH[kind] * vector)
        return f"unsigned char *at = {at}; " + " ".join(
            f"put<{c_type(kind)}>(at, {self.read(name, kind)}, {n});" for n, name in enumerate(self.vector(i.operands[1])))

    def op_bar(self, i):
        if i.take("warp"):
            i.require("sync")
            return f"sync_warp({self.read(i.operands[0], 'u32')});"
        i.require("sync")
        if i.operands != ["0"]:
            raise Unknown(i.text)
        return f"barrier({self.line});"

    op_barrier = op_bar

    def nothing(self, i):
        """Fences and hints: blocks run one after the other, and what crosses blocks within a launch is a race here."""
        i.modifiers = []
        return ""

    op_membar = op_fence = op_prefetch = nothing

    def float_value(self, i, value, kind):
        """The end of an operation on floats: .ftz and .sat."""
        if i.take("ftz"):
            value = f"flush({value})"
        if i.take("sat"):
            value = f"saturate({value})"
        return self.write(i.operands[0], value, kind)

    def float_operands(self, i, kind, operands):
        values = [self.read(x, kind) for x in operands]
        return [f"flush({v})" for v in values] if "ftz" in i.modifiers else values

    def fused(self, i, kind, a, b, c):
        toward = i.take("rn", "rm", "rp", "rz")
        if toward in (None, "rn"):
            return f"std::fma({a}, {b}, {c})"
        if kind != "f32":
            raise Unknown(i.opcode)
        return f"fma_toward<'{toward[1]}'>({a}, {b}, {c})"

    def halves(self, i, formula):
        """An operation on one or two halves, in float (a*b+c of halves: in double)."""
        kind = i.types[0]
        i.take("rn")
        i.take("NaN")
        self.count("F32", 2 if kind.endswith("x2") else 1)
        of, to = ("bf16_of", "bf16_bits") if kind.startswith("b") else ("f16_of", "f16_bits")
        names = "abc"[:len(i.operands) - 1]
        fetch = " ".join(f"const {bits_type(kind)} {n}_ = {self.read(x, kind)};" for n, x in zip(names, i.operands[1:]))
        part = " ".join(f"const float {n} = {of}(static_cast<uint16_t>({n}_ >> at));" for n in names)
        compute = f"[&](uint32_t at) {{ {part} return {to}(static_cast<float>({formula})); }}"
        value = f"halves({compute})" if kind.endswith("x2") else f"({compute})(0)"
        return f"{fetch} " + self.write(i.operands[0], value, kind)

    def arithmetic(self, i, sign):
        kind = i.types[0]
        if kind in HALVES:
            return self.halves(i, f"a {sign} b")
        if kind in FLOATS:
            a, b = self.float_operands(i, kind, i.operands[1:3])
            self.count(kind.upper())
            if i.take("rm", "rp", "rz"):
                raise Unknown(i.opcode)
            i.take("rn")
            return self.float_value(i, f"{a} {sign} {b}", kind)
        self.count("INTEGER")
        wide = bits_type(kind) if sign != "*" or WIDTH[kind] > 2 else "uint32_t"
        a, b = (f"static_cast<{wide}>({self.read(x, kind)})" for x in i.operands[1:3])
        return self.write(i.operands[0], f"{a} {sign} {b}", kind)

    def op_add(self, i):
        return self.arithmetic(i, "+")

    def op_sub(self, i):
        return self.arithmetic(i, "-")

    def product(self, i, a, b, kind):
        """The low half, the high half or all of a product of integers, and the type that it has."""
        part = i.require("lo", "hi", "wide")
        double = {"16": "32", "32": "64"}.get(kind[1:])
        if part == "lo":
            return f"static_cast<uint64_t>({a}) * static_cast<uint64_t>({b})", kind
        if part == "wide":
            return f"static_cast<{c_type(kind[0] + double)}>({a}) * {b}", kind[0] + double
        if double:
            return f"(static_cast<{c_type(kind[0] + double)}>({a}) * {b}) >> {8 * WIDTH[kind]}", kind
        return f"(static_cast<{'' if kind[0] == 's' else 'unsigned '}__int128>({a}) * {b}) >> 64", kind

    def op_mul(self, i):
        kind = i.types[0]
        if kind in FLOATS or kind in HALVES:
            return self.arithmetic(i, "*")
        self.count("INTEGER")
        value, result = self.product(i, *(self.read(x, kind) for x in i.operands[1:3]), kind)
        return self.write(i.operands[0], value, result)

    def op_mad(self, i):
        kind = i.types[0]
        if kind in FLOATS:
            return self.op_fma(i)
        self.count("INTEGER", 2)
        value, result = self.product(i, *(self.read(x, kind) for x in i.operands[1:3]), kind)
        whole = bits_type(result)
        return self.write(i.operands[0], f"static_cast<{whole}>({value}) + static_cast<{whole}>({self.read(i.operands[3], result)})", result)

    def op_fma(self, i):
        kind = i.types[0]
        if kind in HALVES:
            return self.halves(i, "static_cast<double>(a) * b + c")
        self.count(kind.upper(), 2)
        return self.float_value(i, self.fused(i, kind, *self.float_operands(i, kind, i.operands[1:4])), kind)

    def op_div(self, i):
        kind = i.types[0]
        if kind in FLOATS:
            i.take("rn", "full", "approx")
            self.count(kind.upper())
            a, b = self.float_operands(i, kind, i.operands[1:3])
            return self.float_value(i, f"{a} / {b}", kind)
        return self.divided(i, "/")

    def op_rem(self, i):
        return self.divided(i, "%")

    def divided(self, i, sign):
        kind = i.types[0]
        self.count("INTEGER")
        a, b = (self.read(x, kind) for x in i.operands[1:3])
        return f"if ({b} == 0) fault({self.line}, \"division by zero\"); " + self.write(i.operands[0], f"{a} {sign} {b}", kind)

    def logical(self, i, sign):
        kind = i.types[0]
        if kind != "pred":
            self.count("INTEGER")
        return self.write(i.operands[0], f"{self.read(i.operands[1], kind)} {sign} {self.read(i.operands[2], kind)}", kind)

    def op_and(self, i):
        return self.logical(i, "&")

    def op_or(self, i):
        return self.logical(i, "|")

    def op_xor(self, i):
        return self.logical(i, "^")

    def op_not(self, i):
        kind = i.types[0]
        return self.write(i.operands[0], f"{'!' if kind == 'pred' else '~'}{self.read(i.operands[1], kind)}", kind)

    def op_shl(self, i):
        kind = "u" + i.types[0][1:]
        self.count("INTEGER")
        return self.write(i.operands[0], f"shift_left<{c_type(kind)}>({self.read(i.operands[1], kind)}, {self.read(i.operands[2], 'u32')})", kind)

    def op_shr(self, i):
        kind = i.types[0]
        self.count("INTEGER")
        return self.write(i.operands[0], f"shift_right<{c_type(kind)}>({self.read(i.operands[1], kind)}, {self.read(i.operands[2], 'u32')})", kind)

    def op_shf(self, i):
        way, how = i.require("l", "r"), i.require("wrap", "clamp")
        low, high, by = (self.read(x, "u32") for x in i.operands[1:4])
        by = f"{by} & 31" if how == "wrap" else f"least<uint32_t>({by}, 32)"
        self.count("INTEGER")
        return self.write(i.operands[0], f"funnel_{'left' if way == 'l' else 'right'}({low}, {high}, {by})", "b32")

    def function(self, i, call, kind=None, result=None, work="INTEGER"):
        """A call with all operands of one type."""
        kind = kind or i.types[0]
        self.count(work)
        arguments = ", ".join(self.read(x, kind) for x in i.operands[1:])
        return self.write(i.operands[0], f"{call}({arguments})", result or kind)

    def extreme(self, i, function, half):
        kind = i.types[0]
        if kind in HALVES:
            return self.halves(i, f"{function}<float>(a, b)")
        if kind in FLOATS:
            a, b = self.float_operands(i, kind, i.operands[1:3])
            self.count(kind.upper())
            return self.float_value(i, f"{function}<{c_type(kind)}>({a}, {b})", kind)
        return self.function(i, f"{function}<{c_type(kind)}>")

    def op_min(self, i):
        return self.extreme(i, "least", "fmin")

    def op_max(self, i):
        return self.extreme(i, "most", "fmax")

    def op_neg(self, i):
        kind = i.types[0]
        if kind in HALVES:
            return self.halves(i, "-a")
        if kind in FLOATS:
            return self.float_value(i, f"-{self.float_operands(i, kind, i.operands[1:])[0]}", kind)
        return self.write(i.operands[0], f"0 - static_cast<{bits_type(kind)}>({self.read(i.operands[1], kind)})", kind)

    def op_abs(self, i):
        kind = i.types[0]
        if kind in HALVES:
            return self.halves(i, "std::fabs(a)")
        if kind in FLOATS:
            return self.float_value(i, f"std::fabs({self.float_operands(i, kind, i.operands[1:])[0]})", kind)
        x = self.read(i.operands[1], kind)
        return self.write(i.operands[0], f"{x} < 0 ? 0 - static_cast<{bits_type(kind)}>({x}) : static_cast<{bits_type(kind)}>({x})", kind)

    def unary_float(self, i, formula):
        """Approximate on hardware; here the nearest, in double."""
        kind = i.types[0]
        i.take("approx", "rn")
        self.count(kind.upper())
        x = self.float_operands(i, kind, i.operands[1:2])[0]
        return self.float_value(i, f"static_cast<{c_type(kind)}>({formula.format(f'static_cast<double>({x})')})", kind)

    def op_ex2(self, i):
        return self.unary_float(i, "std::exp2({})")

    def op_lg2(self, i):
        return self.unary_float(i, "std::log2({})")

    def op_rcp(self, i):
        return self.unary_float(i, "1 / {}")

    def op_sqrt(self, i):
        return self.unary_float(i, "std::sqrt({})")

    def op_rsqrt(self, i):
        return self.unary_float(i, "1 / std::sqrt({})")

    def op_tanh(self, i):
        return self.unary_float(i, "std::tanh({})")

    def op_copysign(self, i):
        kind = i.types[0]
        return self.write(i.operands[0], f"std::copysign({self.read(i.operands[2], kind)}, {self.read(i.operands[1], kind)})", kind)

    def op_popc(self, i):
        return self.function(i, "std::popcount", "u" + i.types[0][1:], "u32")

    def op_clz(self, i):
        return self.function(i, "std::countl_zero", "u" + i.types[0][1:], "u32")

    def op_brev(self, i):
        return self.function(i, "reverse_bits", "u32")

    def op_prmt(self, i):
        return self.function(i, "permute", "u32")

    def op_lop3(self, i):
        table = int(i.operands.pop(), 0)
        return self.function(i, f"logic<{table}>", "u32")

    def op_bfe(self, i):
        kind = i.types[0]
        self.count("INTEGER")
        x, at, n = self.read(i.operands[1], kind), self.read(i.operands[2], "u32"), self.read(i.operands[3], "u32")
        return self.write(i.operands[0], f"extract<{c_type(kind)}>({x}, {at}, {n})", kind)

    def op_bfi(self, i):
        kind = "u" + i.types[0][1:]
        self.count("INTEGER")
        of, into, at, n = (self.read(x, k) for x, k in zip(i.operands[1:], (kind, kind, "u32", "u32")))
        return self.write(i.operands[0], f"insert<{c_type(kind)}>({of}, {into}, {at}, {n})", kind)

    def op_dp4a(self, i):
        a, b = ("int8_t" if kind == "s32" else "uint8_t" for kind in i.types)
        self.count("DP4A", 4)
        x, y, c = self.read(i.operands[1], "u32"), self.read(i.operands[2], "u32"), self.read(i.operands[3], "s32")
        return self.write(i.operands[0], f"dot4<{a}, {b}>({x}, {y}, {c})", "s32")

    def op_setp(self, i):
        kind = i.types[0]
        both = i.take("and", "or", "xor")
        compare = i.require(*ORDER, "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")
        if kind in HALVES:
            of = "bf16_of" if kind == "bf16" else "f16_of"
            a, b = (f"{of}({self.read(x, kind)})" for x in i.operands[1:3])
        elif kind in FLOATS:
            a, b = self.float_operands(i, kind, i.operands[1:3])
            i.take("ftz")
        else:
            kind = "u" + kind[1:] if compare in ("lo", "ls", "hi", "hs") else kind
            a, b = (self.read(x, kind) for x in i.operands[1:3])
        self.count("INTEGER")
        floats = kind in FLOATS or kind in HALVES
        if compare in ("num", "nan"):
            value = f"({'!' if compare == 'num' else ''}(std::isnan({a}) || std::isnan({b})))"
        elif floats and compare.endswith("u"):
            value = f"({a} {ORDER[compare[:-1]]} {b} || std::isnan({a}) || std::isnan({b}))"
        elif floats and compare == "ne":
            value = f"({a} < {b} || {a} > {b})"
        else:
            value = f"({a} {ORDER[compare]} {b})"
        names = i.operands[0].split("|")
        if both:
            sign = {"and": "&&", "or": "||", "xor": "!="}[both]
            other = self.read(i.operands[3], "pred")
            code = f"const bool c = {value}, d = {other}; " + self.write(names[0], f"c {sign} d", "pred")
            return code + (self.write(names[1], f"!c {sign} d", "pred") if len(names) > 1 else "")
        code = f"const bool c = {value}; " + self.write(names[0], "c", "pred")
        return code + (self.write(names[1], "!c", "pred") if len(names) > 1 else "")

    def op_selp(self, i):
        kind = i.types[0]
        a, b = self.read(i.operands[1], kind), self.read(i.operands[2], kind)
        return self.write(i.operands[0], f"{self.read(i.operands[3], 'pred')} ? {a} : {b}", kind)

    def op_cvt(self, i):
        to, of = i.types
        whole = i.take("rni", "rzi", "rmi", "rpi")
        toward = i.take("rn", "rz", "rm", "rp")
        if toward in ("rz", "rm", "rp"):
            raise Unknown(i.opcode)
        self.count("INTEGER")
        if to in ("f16x2", "bf16x2"):
            bits = "f16_bits" if to == "f16x2" else "bf16_bits"
            high, low = self.read(i.operands[1], "f32"), self.read(i.operands[2], "f32")
            return self.write(i.operands[0], f"{bits}({low}) | static_cast<uint32_t>({bits}({high})) << 16", "b32")
        x = self.read(i.operands[1], of)
        if of == "f16":
            x = f"f16_of({x})"
        elif of == "bf16":
            x = f"bf16_of({x})"
        from_float = of in FLOATS or of in HALVES
        if "ftz" in i.modifiers and of == "f32":
            x = f"flush({x})"
        if to == "f16":
            value = f"f16_bits({x})" if from_float else f"f16_bits(static_cast<double>({x}))"
        elif to == "bf16":
            value = f"bf16_bits(static_cast<float>({x}))"
        elif to in FLOATS:
            x = f"{ROUND_WHOLE[whole]}({x})" if whole else x
            return self.float_value(i, f"static_cast<{c_type(to)}>({x})", to)
        elif from_float:
            value = f"integer_of<{c_type(to)}>({ROUND_WHOLE[whole or 'rzi']}(static_cast<double>({x})))"
        else:
            if i.take("sat"):
                raise Unknown(i.opcode)
            value = x
        i.take("ftz")
        return self.write(i.operands[0], value, to)

    def op_shfl(self, i):
        i.require("sync")
        mode = {"up": "u", "down": "d", "bfly": "b", "idx": "i"}[i.require("up", "down", "bfly", "idx")]
        names = i.operands[0].split("|")
        x, by, clamp, mask = (self.read(o, "u32") for o in i.operands[1:5])
        code = f"bool inside; const uint32_t x = shuffle<'{mode}'>({x}, {by}, {clamp}, {mask}, inside); " + self.write(names[0], "x", "b32")
        return code + (self.write(names[1], "inside", "pred") if len(names) > 1 else "")

    def op_vote(self, i):
        i.require("sync")
        kind = i.require("ballot", "any", "all")
        call = f"vote_{kind}({self.read(i.operands[1], 'pred')}, {self.read(i.operands[2], 'u32')})"
        return self.write(i.operands[0], call, "b32" if kind == "ballot" else "pred")

    def atomic(self, i, to, operands):
        kind = i.types[0]
        i.take("relaxed")
        i.take("gpu", "cta")
        space = self.space_of(i)
        what = i.require("add", "min", "max", "exch", "cas", "and", "or")
        at = self.memory(operands[0], space, "ATOMIC", WIDTH[kind])
        t, x = c_type(kind), self.read(operands[1], kind)
        if kind in FLOATS:
            raise Unknown(f"{i.opcode}: the order of such a sum is not fixed")
        change = {"add": f"old + {x}", "min": f"least<{t}>(old, {x})", "max": f"most<{t}>(old, {x})", "exch": x, "and": f"old & {x}",
                  "or": f"old | {x}"}.get(what) or f"old == {x} ? {self.read(operands[2], kind)} : old"
        call = f"exchange_atomic<{t}>({at}, [&]({t} old) -> {t} {{ (void)old; return {change}; }})"
        return self.write(to, call, kind) if to else call + ";"

    def op_atom(self, i):
        return self.atomic(i, i.operands[0], i.operands[1:])

    def op_red(self, i):
        return self.atomic(i, None, i.operands)

    def op_cp(self, i):
        i.require("async")
        if i.take("commit_group"):
            return "copy_commit();"
        if i.take("wait_group"):
            return f"copy_wait({i.operands[0]});"
        if i.take("wait_all"):
            return "copy_commit(); copy_wait(0);"
        i.require("ca", "cg")
        i.require("shared")
        i.require("global")
        i.take(*CACHE_HINTS)
        (to, to_offset), (of, of_offset) = self.address(i.operands[0]), self.address(i.operands[1])
        size = i.operands[2]
        used = self.read(i.operands[3], "u32") if len(i.operands) > 3 else size
        return f"copy_async<{size}>({self.read(to, 'u32')} + {to_offset}, {self.read(of, 'u64')} + {of_offset}, {used}, {self.line});"

    def op_ldmatrix(self, i):
        for word in ("sync", "aligned", "m8n8", "shared"):
            i.require(word)
        n, transposed = int(i.require("x1", "x2", "x4")[1]), bool(i.take("trans"))
        base, offset = self.address(i.operands[1])
        names = self.vector(i.operands[0])
        return (f"uint32_t x[4]; load_matrices<{str(transposed).lower()}>(x, {n}, {self.read(base, 'u32')} + {offset}, {self.line}); "
                + " ".join(self.write(name, f"x[{k}]", "b32") for k, name in enumerate(names)))

    def fragments(self, i, c_kind):
        """Arrays a, b, c of an mma or wmma, and the statements that store c."""
        d, a, b, c = (self.vector(x) for x in i.operands)
        t = c_type(c_kind)
        code = f"const uint32_t a[] = {{{', '.join(self.read(x, 'u32') for x in a)}}}, b[] = {{{', '.join(self.read(x, 'u32') for x in b)}}}; "
        code += f"{t} c[] = {{{', '.join(self.read(x, c_kind) for x in c)}}}; "
        return code, " ".join(self.write(x, f"c[{k}]", c_kind) for k, x in enumerate(d))

    def op_mma(self, i):
        for word in ("sync", "aligned", "row", "col"):
            i.require(word)
        shape = i.require("m16n8k16", "m16n8k32", "m8n8k16")
        m, n, k = (int(x) for x in re.findall(r"\d+", shape))
        self.count("TENSOR", m * n * k // 32)
        if i.types in (["f32", "f16", "f16", "f32"], ["f32", "bf16", "bf16", "f32"]) and shape == "m16n8k16":
            code, store = self.fragments(i, "f32")
            return f"{code} multiply_halves<{'true' if i.types[1] == 'bf16' else 'false'}>(c, a, b); {store}"
        if i.types == ["s32", "s8", "s8", "s32"]:
            i.take("satfinite")
            code, store = self.fragments(i, "s32")
            return f"{code} multiply_bytes<{m}, {k}>(c, a, b); {store}"
        raise Unknown(i.opcode)

    def op_wmma(self, i):
        action = i.require("load", "mma", "store")
        for word in ("sync", "aligned", "m16n16k16"):
            i.require(word)
        if action == "mma":
            i.require("row"), i.require("col")
            if i.types != ["f32", "f32"]:
                raise Unknown(i.opcode)
            self.count("TENSOR", 16 * 16 * 16 // 32)
            code, store = self.fragments(i, "f32")
            return f"{code} wmma_multiply(c, a, b); {store}"
        i.take("a", "b", "d")
        row = "true" if i.require("row", "col") == "row" else "false"
        space, kind = self.space_of(i), i.types[0]
        names = self.vector(i.operands[0 if action == "load" else 1])
        base, offset = self.address(i.operands[1 if action == "load" else 0])
        stride = self.read(i.operands[2], "u32")
        access = "READ" if action == "load" else "WRITE"
        code = ""
        for k, name in enumerate(names):
            self.sites += 1
            start = f"{self.read(base, 'u32' if space == 'shared' else 'u64')} + {offset} + {WIDTH[kind]} * wmma_place<{row}>({k}, {stride})"
            site = "" if space == "shared" else f"site[{self.sites - 1}], "
            at = f"{space}_at<{access}, {WIDTH[kind]}>({start}, {site}{self.line})"
            code += self.write(name, f"get<{c_type(kind)}>({at})", kind) if action == "load" else f"put<{c_type(kind)}>({at}, {self.read(name, kind)}); "
        return code

    # the body

    def declare(self, kind, names, nested):
        for name in split(names):
            run = re.fullmatch(r"(%\w+?)<(\d+)>", name)
            for n in range(int(run[2])) if run else [None]:
                one = f"{run[1]}{n}" if run else name
                self.registers[one] = kind
                declaration = f"{bits_type(kind)} {self.register(one)};"
                (self.emit if nested else self.declared.append)(declaration)

    def directive(self, text, depth):
        found = re.match(r"\.reg\s+\.(\w+)\s+(.*)", text, re.S)
        if found:
            return self.declare(found[1], found[2], depth > 0)
        found = re.match(r"\.(shared|local)\s+\.align\s+(\d+)\s+\.(\w+)\s+([\w$]+)(?:\[(\d+)\])?", text)
        if not found:
            raise Unknown(text)
        space, align, name, size = found[1], int(found[2]), found[4], WIDTH[found[3]] * int(found[5] or 1)
        if space == "shared":
            self.shared_bytes = (self.shared_bytes + align - 1) // align * align
            self.shared[name] = self.shared_bytes
            self.shared_bytes += size
        else:
            self.local[name] = f"local_{len(self.local)}"
            self.declared.append(f"alignas({align}) unsigned char {self.local[name]}[{size}];")

    def statements(self, body):
        """Yields what stands between semicolons, labels, and braces that open or close a scope."""
        at = 0
        while True:
            at = re.compile(r"\s*").match(body, at).end()
            if at == len(body):
                return
            loc = re.compile(r"\.loc\s+\d+\s+(\d+)[^\n]*").match(body, at)
            other = re.compile(r"\.(pragma|file|section)[^\n]*").match(body, at)
            label = re.compile(r"([$\w]+):").match(body, at)
            if loc:
                # where a function was inlined, the line that called it
                inlined = re.search(r"inlined_at\s+\d+\s+(\d+)", loc[0])
                self.line = int((inlined or loc)[1])
                at = loc.end()
            elif other:
                at = other.end()
            elif label:
                yield "label", label[1]
                at = label.end()
            elif body[at] in "{}":
                yield body[at], ""
                at += 1
            else:
                end = body.index(";", at)
                yield "statement", body[at:end].strip()
                at = end + 1

    def translate_body(self, body):
        depth = 0
        self.open_run()
        for kind, text in self.statements(body):
            if kind == "label":
                self.open_run()
                self.emit(f"L{self.number}_{text.replace('$', '_')}:;")
                self.open_run()
            elif kind in "{}":
                depth += 1 if kind == "{" else -1
                self.close_run()
                self.emit(kind)
                self.open_run()
            elif text.startswith("."):
                self.directive(text, depth)
            else:
                self.translate(text)
        self.close_run()

    def add_parameters(self, text):
        pattern = r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+(?:\.ptr\s+(?:\.\w+\s+)?(?:\.align\s+\d+\s+)?)?([\w$]+)(?:\[(\d+)\])?"
        table = []
        for one in split(text):
            found = re.fullmatch(pattern, one)
            size = WIDTH[found[2]] * int(found[4] or 1)
            align = int(found[1] or WIDTH[found[2]])
            offset = (self.parameter_bytes + align - 1) // align * align
            self.parameters[found[3]] = offset
            self.parameter_bytes = offset + size
            table.append(f"{{{offset}, {size}}}")
        return table

    def source(self):
        lines = [f"static void kernel_{self.number}(const unsigned char *parameters)", "{", "(void)parameters;"]
        if self.sites:
            lines.append(f"static const Region *site[{self.sites}];")
        return "\n".join(lines + self.declared + [c for c in self.code if c] + ["}"])


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
