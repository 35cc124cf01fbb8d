"""Instructions that move data: between registers, from and to memory, atomics, cp.async."""
from ptx.operands import Operands
from ptx.text import FLOATS, WIDTH, Unknown, c_type

CACHE_HINTS = {"nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt", "L1::no_allocate", "L2::128B", "L2::64B", "L2::256B"}
SPACES = ("global", "shared", "param", "local")


class Memory(Operands):
    """A method for each instruction, op_NAME, that returns C++."""

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

    def nothing(self, i):
        """Fences and hints: blocks run one after the other, and what crosses blocks within a launch is a race here."""
        i.modifiers = []
        return ""

    op_membar = op_fence = op_prefetch = nothing

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
