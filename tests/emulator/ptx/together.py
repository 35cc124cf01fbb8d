"""Instructions that threads run together: barriers, exchanges of a warp, products of matrices."""
import re

from ptx.memory import Memory
from ptx.text import WIDTH, Unknown, c_type


class Together(Memory):
    """A method for each instruction, op_NAME, that returns C++."""

    def op_bar(self, i):
        if i.take("warp"):
            i.require("sync")
            return f"sync_warp({self.read(i.operands[0], 'u32')});"
        i.require("sync")
        if i.operands != ["0"]:
            raise Unknown(i.text)
        return f"barrier({self.line});"

    op_barrier = op_bar

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
