"""A kernel: its declarations, labels and scopes, and one C++ function of it."""
import re

from ptx.arithmetic import Arithmetic
from ptx.text import WIDTH, Instruction, Unknown, bits_type, split
from ptx.together import Together


class Kernel(Arithmetic, Together):
    """The body of one kernel, while it is translated."""

    def __init__(self, name, number):
        super().__init__()
        self.name, self.number = name, number
        self.declared, self.code = [], []

    def emit(self, code):
        self.code.append(code)

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
