"""Instructions that compute: integers, floats, halves, comparisons, conversions."""
from ptx.operands import Operands
from ptx.text import FLOATS, HALVES, WIDTH, Unknown, bits_type, c_type

ORDER = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}
ROUND_WHOLE = {"rni": "std::nearbyint", "rzi": "std::trunc", "rmi": "std::floor", "rpi": "std::ceil"}


class Arithmetic(Operands):
    """A method for each instruction, op_NAME, that returns C++."""

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
