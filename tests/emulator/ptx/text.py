"""The text of PTX: types, instructions and their operands."""
import re

WIDTH = {"b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4, "u32": 4, "s32": 4, "f32": 4,
         "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8}
STORAGE = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t"}
SIGNED = {1: "int8_t", 2: "int16_t", 4: "int32_t", 8: "int64_t"}
FLOATS = ("f32", "f64")
HALVES = ("f16", "bf16", "f16x2", "bf16x2")


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
