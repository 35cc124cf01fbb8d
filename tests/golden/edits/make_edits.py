#!/usr/bin/env python3
"""Writes edits.json: answers that a model could give, right, sloppy and hostile, and what is to become of each.

Each case: name, form (that was asked for), files (path: content), lines ([first, last] of the first file, for regions), answer,
want: "right" (these contents, nothing said), "said" (these contents, and it is said what was not exact) or "refused";
steps: for each number of complete edits, from 1 on, the contents then. A cut answer may give no others silently.
"""
import json
import os

C = """#include <stdio.h>
#include "area.h"

/* The area of a rectangle. */
static int
area(int width, int height)
{
    return width * height;
}

int total(const struct box *boxes, int count)
{
    int sum = 0;
    for (int i = 0; i < count; i++)
        sum += area(boxes[i].width, boxes[i].height);
    return sum;
}

int main(void)
{
    struct box box = { 2, 3 };
    printf("%d\\n", total(&box, 1));
    return 0;
}
"""
PY = '''"""Accounts."""
import os


class Account:
    """One account."""

    def __init__(self, owner, balance=0):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount
        return self.balance

    def withdraw(self, amount):
        self.balance -= amount
        return self.balance


def describe(account):
    name = account.owner
    return name + ": " + str(account.balance)


def path_of(name):
    return os.path.join("accounts", name)
'''
JS = """const fs = require("fs");

function parse(text) {
  const out = [];
  for (const line of text.split("\\n")) {
    if (line) {
      out.push(line.trim());
    }
  }
  return out;
}

const load = (path) => {
  const text = fs.readFileSync(path, "utf8");
  return parse(text);
};

class Reader {
  constructor(path) {
    this.path = path;
  }

  read() {
    return load(this.path);
  }
}

module.exports = { parse, load, Reader };
"""

# name, path, content, blocks, definitions (whole, new), region (first, last)
BASES = [
    ("c", "src/area.c", C,
     [("    for (int i = 0; i < count; i++)\n        sum += area(boxes[i].width, boxes[i].height);\n",
       "    for (int i = 0; i < count; i++) {\n        if (boxes[i].width > 0)\n            sum += area(boxes[i].width, boxes[i].height);\n    }\n"),
      ('    printf("%d\\n", total(&box, 1));\n    return 0;\n', '    printf("total %d\\n", total(&box, 1));\n    return 0;\n')],
     ["int total(const struct box *boxes, int count)\n{\n    int sum = 0;\n    for (int i = 0; i < count; i++) {\n        if (boxes[i].width > 0)\n"
      "            sum += area(boxes[i].width, boxes[i].height);\n    }\n    return sum;\n}\n",
      'int main(void)\n{\n    struct box box = { 2, 3 };\n    printf("total %d\\n", total(&box, 1));\n    return 0;\n}\n'], (11, 24)),
    ("py", "bank/account.py", PY,
     [("    def withdraw(self, amount):\n        self.balance -= amount\n        return self.balance\n",
       "    def withdraw(self, amount):\n        if amount > self.balance:\n            raise ValueError(amount)\n        self.balance -= amount\n"
       "        return self.balance\n"),
      ('    name = account.owner\n    return name + ": " + str(account.balance)\n', '    name = account.owner.title()\n    return f"{name}: {account.balance}"\n')],
     ["    def withdraw(self, amount):\n        if amount > self.balance:\n            raise ValueError(amount)\n        self.balance -= amount\n"
      "        return self.balance\n",
      'def describe(account):\n    name = account.owner.title()\n    return f"{name}: {account.balance}"\n'], (16, 24)),
    ("js", "lib/reader.js", JS,
     [("    if (line) {\n      out.push(line.trim());\n    }\n", "    const trimmed = line.trim();\n    if (trimmed) {\n      out.push(trimmed);\n    }\n"),
      ("  read() {\n    return load(this.path);\n  }\n", "  read() {\n    return load(this.path).reverse();\n  }\n")],
     ['function parse(text) {\n  const out = [];\n  for (const line of text.split("\\n")) {\n    const trimmed = line.trim();\n    if (trimmed) {\n'
      "      out.push(trimmed);\n    }\n  }\n  return out;\n}\n",
      "  read() {\n    return load(this.path).reverse();\n  }\n"], (3, 25)),
]

cases = []


def case(name, form, files, answer, want, contents=None, steps=None, lines=None):
    cases.append({"name": name, "form": form, "files": files, "answer": answer, "want": want,
                  "contents": contents or {}, "steps": steps or ([contents] if contents else []), **({"lines": lines} if lines else {})})


def block(search, replace, head="<<<<<<< SEARCH", divider="=======", tail=">>>>>>> REPLACE"):
    return f"{head}\n{search}{divider}\n{replace}{tail}\n"


def after(content, blocks):
    for search, replace in blocks:
        assert content.count(search) == 1, search
        content = content.replace(search, replace)
    return content


def steps_of(path, content, blocks, change=lambda t: t):
    return [{path: change(after(content, blocks[:k]))} for k in range(1, len(blocks) + 1)]


def indent(text, by):
    return "".join((by + l if l.strip() else l) for l in text.splitlines(True))


def dedent(text):
    n = min(len(l) - len(l.lstrip()) for l in text.splitlines() if l.strip())
    return "".join(l[n:] if l.strip() else l for l in text.splitlines(True))


def search_forms(key, path, content, blocks):
    files, want, steps = {path: content}, {path: after(content, blocks)}, steps_of(path, content, blocks)
    plain = [block(s, r) for s, r in blocks]

    def right(name, answer, form="search"):
        case(f"{key}: {name}", form, files, answer, "right", want, steps)

    right("blocks", "".join(f"{path}\n{b}\n" for b in plain))
    right("blocks of a conversation", "Here it is.\n\n" + "".join(f"{path}\n{b}\n" for b in plain), "any")
    right("one heading for all blocks", f"{path}\n" + "\n".join(plain))
    right("no heading, one file", "\n".join(plain))
    right("fences", "".join(f"{path}\n```\n{b}```\n\n" for b in plain))
    right("one fence for all", f"{path}\n```\n" + "\n".join(plain) + "```\n")
    right("path behind the fence", "".join(f"```{path}\n{b}```\n\n" for b in plain))
    right("language and path behind the fence", "".join(f"```{key} {path}\n{b}```\n\n" for b in plain))
    right("path in the fence", "".join(f"```{key}\n{path}\n{b}```\n\n" for b in plain))
    right("heading with words", "".join(f"File: `{path}`\n\n{b}\n" for b in plain))
    right("bold heading", "".join(f"**{path}**:\n{b}\n" for b in plain))
    right("heading of a section", "".join(f"### {path}\n\n```{key}\n{b}```\n" for b in plain))
    right("a sentence before", "".join(f"In `{path}`, this has to change:\n\n```{key}\n{b}```\n" for b in plain))
    right("explained", "I change two places.\n\n" + "\n".join(f"{path}\n```{key}\n{b}```\nThat was it.\n" for b in plain) + "\nDone; run it:\n\n```bash\nmake test\n```\n")
    right("answer in CR LF", "".join(f"{path}\n{b}\n" for b in plain).replace("\n", "\r\n"))
    right("longer marks", "".join(f"{path}\n" + block(s, r, "<<<<<<<<< SEARCH", "=========", ">>>>>>>>> REPLACE") for s, r in blocks))
    right("other words", "".join(f"{path}\n" + block(s, r, "<<<<<<< ORIGINAL", "=======", ">>>>>>> UPDATED") for s, r in blocks))
    right("path with ./", "".join(f"./{path}\n{b}\n" for b in plain))
    right("last mark missing, fence closed", f"{path}\n" + plain[0] + f"```\n{block(*blocks[1], tail='')}"[:-1] + "```\n")
    crlf = content.replace("\n", "\r\n")
    case(f"{key}: file in CR LF", "search", {path: crlf}, "".join(f"{path}\n{b}\n" for b in plain), "right", {path: want[path].replace("\n", "\r\n")},
         steps_of(path, content, blocks, lambda t: t.replace("\n", "\r\n")))
    case(f"{key}: no last line feed", "search", {path: content[:-1]}, "".join(f"{path}\n{b}\n" for b in plain), "right", {path: want[path][:-1]},
         steps_of(path, content, blocks, lambda t: t[:-1]))

    def said(name, answer, form="search"):
        case(f"{key}: {name}", form, files, answer, "said", want, steps)

    said("blanks at ends of lines", "".join(f"{path}\n" + block(s.replace("\n", "  \n"), r) for s, r in blocks))
    said("not indented", "".join(f"{path}\n" + block(dedent(s), dedent(r)) for s, r in blocks[:1]) + f"{path}\n" + plain[1])
    said("indented more", "".join(f"{path}\n" + block(indent(s, "    "), indent(r, "    ")) for s, r in blocks))
    said("whole block indented", "".join(f"{path}\n" + indent(block(s, r), "  ") for s, r in blocks))
    said("blank lines around", "".join(f"{path}\n" + block("\n\n" + s + "\n\n\n", "\n\n" + r + "\n\n\n") for s, r in blocks))
    said("path without folder", "".join(f"{os.path.basename(path)}\n{b}\n" for b in plain))
    case(f"{key}: no heading, two files", "search", {path: content, "notes.txt": "nothing\n"}, "\n".join(plain), "said", want, steps)

    def refused(name, answer, form="search"):
        case(f"{key}: {name}", form, files, answer, "refused", None, steps)

    s, r = blocks[0]
    first = s.splitlines(True)[0]
    refused("not in the file", f"{path}\n" + block("this_is_not_there();\n", r))
    refused("no divider", f"{path}\n<<<<<<< SEARCH\n{s}{r}>>>>>>> REPLACE\n")
    refused("two dividers", f"{path}\n" + block(s, r + "=======\n" + r))
    refused("block within a block", f"{path}\n<<<<<<< SEARCH\n{s}=======\n{r}" + plain[1])
    refused("no end", f"{path}\n<<<<<<< SEARCH\n{s}=======\n{r}")
    refused("leaves out", f"{path}\n" + block(s, first + "    // ... rest of the code ...\n"))
    refused("leaves out in a comment", f"{path}\n" + block(s, first + "        # existing code remains unchanged\n"))
    refused("leaves out by dots", f"{path}\n" + block(s, first + "        ...\n"))
    refused("no text to find", f"{path}\n" + block("", r))
    refused("changes nothing", f"{path}\n" + block(s, s))
    refused("misquotes what it changes", f"{path}\n" + block(s.replace("amount)", "amount, fee)").replace("width, boxes", "w, boxes").replace("trim()", "strip()"), r))
    refused("unknown file", f"src/other_{key}.x\n" + block(s, r))
    refused("no edit", f"You should change {path} so that it checks its input. I hope this helps.")
    refused("no edit in a conversation", f"{path}\n```{key}\n{r}```\n", "any")


def whole_forms(key, path, content, blocks, definitions, region):
    files, want = {path: content}, {path: after(content, blocks)}
    done = [want]
    one = [{path: after(content, blocks[:1])}, want]
    both = "\n".join(definitions)
    case(f"{key}: definitions", "definition", files, f"{path}\n```{key}\n{both}```\n", "right", want, done)
    case(f"{key}: definitions, one fence each", "definition", files, "".join(f"{path}\n```{key}\n{d}```\n\n" for d in definitions), "right", want, one)
    case(f"{key}: definitions, no heading", "definition", files, f"```{key}\n{both}```\n", "right", want, done)
    case(f"{key}: definitions, path in the fence", "definition", files, f"```{key}\n// {path}\n{both}```\n", "right", want, done)
    case(f"{key}: definitions, path behind the fence", "definition", files, f"```{key} {path}\n{both}```\n", "right", want, done)
    case(f"{key}: definitions and what stays left out", "definition", files, f"{path}\n```{key}\n# ... existing code ...\n\n{both}```\n", "right", want, done)
    case(f"{key}: definitions not indented", "definition", files, f"{path}\n```{key}\n" + "\n".join(dedent(d) for d in definitions) + "```\n", "right", want, done)
    case(f"{key}: definitions where blocks were asked for", "search", files, f"{path}\n```{key}\n{both}```\n", "said", want, done)
    case(f"{key}: definitions without an end mark", "definition", files, f"{path}\n```{key}\n{both}", "said", want, done)
    crlf = content.replace("\n", "\r\n")
    case(f"{key}: definitions, file in CR LF", "definition", {path: crlf}, f"{path}\n```{key}\n{both}```\n", "right", {path: want[path].replace("\n", "\r\n")})
    body = definitions[0].splitlines(True)
    case(f"{key}: definition that leaves out", "definition", files, f"{path}\n```{key}\n{''.join(body[:2])}        // ... rest of the function\n{body[-1]}```\n", "refused")
    case(f"{key}: no definition", "definition", files, f"{path}\n```{key}\nfoo bar baz(\n```\n", "refused")
    case(f"{key}: file", "file", files, f"{path}\n```{key}\n{want[path]}```\n", "right", want, done)
    case(f"{key}: file, no heading", "file", files, f"Here is the file:\n\n```{key}\n{want[path]}```\n\nDone.\n", "right", want, done)
    case(f"{key}: file, path in a comment", "file", files, f"```{key}\n// {path}\n{want[path]}```\n", "right", want, done)
    case(f"{key}: file in CR LF", "file", {path: crlf}, f"{path}\n```\n{want[path]}```\n", "right", {path: want[path].replace("\n", "\r\n")})
    case(f"{key}: file without last line feed", "file", {path: content[:-1]}, f"{path}\n```\n{want[path]}```\n", "right", {path: want[path][:-1]})
    case(f"{key}: file without an end mark", "file", files, f"{path}\n```\n{want[path]}", "said", want, done)
    case(f"{key}: file without fence", "file", files, want[path], "said", want, done)
    case(f"{key}: file that leaves out", "file", files, f"{path}\n```{key}\n{''.join(want[path].splitlines(True)[:8])}\n// ... rest of the file unchanged\n```\n", "refused")
    case(f"{key}: two contents for a file", "file", files, f"{path}\n```\n{want[path]}```\n{path}\n```\n{content}x\n```\n", "refused", None, [want])
    first, last = region
    old = content.splitlines(True)
    count = len(want[path].splitlines()) - len(old)
    new = "".join(want[path].splitlines(True)[first - 1:last + count])
    case(f"{key}: region", "region", files, f"```{key}\n{new}```\n", "right", want, done, region)
    case(f"{key}: region, explained", "region", files, f"Sure:\n\n```\n{new}```\n\nThis checks its input.\n", "right", want, done, region)
    case(f"{key}: region without fence", "region", files, new, "said", want, done, region)
    case(f"{key}: region without an end mark", "region", files, f"```{key}\n{new}", "said", want, done, region)
    case(f"{key}: region that leaves out", "region", files, f"```{key}\n{old[first - 1]}    ...\n```\n", "refused", lines=region)
    case(f"{key}: two regions", "region", files, f"```{key}\n{new}```\nor\n```\n{new}```\n", "refused", None, [want], region)


def others():
    twice = "a = 1\nprint(a)\nb = 2\nprint(a)\n"
    case("twice in the file", "search", {"t.py": twice}, "t.py\n" + block("print(a)\n", "print(b)\n"), "refused")
    case("a part of a line", "search", {"t.py": twice}, "t.py\n" + block("b = 2 \n".strip() + "\n", "b = 3\n"), "right", {"t.py": twice.replace("b = 2", "b = 3")})
    long = "def f(alpha, beta):\n    return alpha.compute(beta, 1)\n"
    case("within a line", "search", {"t.py": long}, "t.py\n" + block("alpha.compute(beta, 1)\n", "alpha.compute(beta, 2)\n"), "said", {"t.py": long.replace("1)", "2)")})
    case("within a word", "search", {"t.py": "x = recompute(1)\n"}, "t.py\n" + block("compute(1)\n", "compute(2)\n"), "refused")
    spaces = "int f(int a,int b)\n{\n\treturn a+b;\n}\n"
    case("blanks within lines, tabs", "search", {"t.c": spaces}, "t.c\n" + block("int f(int a, int b)\n{\n    return a + b;\n}\n", "int f(int a, int b)\n{\n    log();\n    return a + b;\n}\n"),
         "said", {"t.c": "int f(int a,int b)\n{\n\tlog();\n\treturn a+b;\n}\n"})
    near = "def load(path):\n    # Reads the whole file at the path\n    with open(path) as file:\n        text = file.read()\n    return text\n"
    case("misquotes what stays", "search", {"t.py": near},
         "t.py\n" + block(near.replace("# Reads the whole file at the path", "# Read the whole file at that path"), near.replace("# Reads the whole file at the path", "# Read the whole file at that path").replace("return text", "return text.strip()")),
         "said", {"t.py": near.replace("return text", "return text.strip()")})
    case("an empty file", "search", {"t.py": ""}, "t.py\n" + block("", "x = 1\n"), "right", {"t.py": "x = 1\n"})
    case("a new file", "search", {"t.py": "y = 1\n"}, "u.py\n" + block("", "x = 1\n"), "right", {"u.py": "x = 1\n"})
    case("a new file, whole", "file", {"t.py": "y = 1\n"}, "u.py\n```python\nx = 1\n```\n", "right", {"u.py": "x = 1\n"})
    case("a whole file that the model did not see", "file", {"a/t.py": "y = 1\nz = 2\n"}, "t.py\n```python\nq = 1\n```\n", "right", {"t.py": "q = 1\n"})
    case("lines are taken out", "search", {"t.py": "a\nb\nc\n"}, "t.py\n" + block("b\n", ""), "right", {"t.py": "a\nc\n"})
    case("the last line without line feed", "search", {"t.py": "a\nb\nc"}, "t.py\n" + block("c\n", "d\n"), "right", {"t.py": "a\nb\nd"})
    two = {"a.py": "def f():\n    return 1\n", "b.py": "from a import f\nprint(f())\n"}
    rename = "a.py\n" + block("def f():\n", "def g():\n") + "\nb.py\n" + block("from a import f\nprint(f())\n", "from a import g\nprint(g())\n")
    a2, b2 = "def g():\n    return 1\n", "from a import g\nprint(g())\n"
    case("two files", "search", two, rename, "right", {"a.py": a2, "b.py": b2}, [{"a.py": a2}, {"a.py": a2, "b.py": b2}])
    case("two files, one heading wrong", "search", two, rename.replace("b.py", "c.py"), "refused", None, [{"a.py": a2}])
    conflict = "a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> other\n"
    case("marks of a merge in the file", "search", {"t.txt": conflict}, "t.txt\n" + block(conflict, "a\nb\n"), "refused")
    ruled = "Title\n=======\n\ntext\n"
    case("a rule of equal signs in the file", "search", {"t.rst": ruled}, "t.rst\n" + block(ruled, ruled.replace("text", "words")), "refused")
    case("beside a rule of equal signs", "search", {"t.rst": ruled}, "t.rst\n" + block("text\n", "words\n"), "right", {"t.rst": ruled.replace("text", "words")})
    md = "# T\n\n```\nmake\n```\n\nend\n"
    case("fences in the file", "file", {"t.md": md}, "t.md\n```markdown\n" + md.replace("end", "END") + "```\n", "refused")
    case("fences in the file, a longer fence", "file", {"t.md": md}, "t.md\n````markdown\n" + md.replace("end", "END") + "````\n", "right", {"t.md": md.replace("end", "END")})
    case("fences in a new file", "file", {"a.py": "x\n"}, "t.md\n```markdown\n# T\n\n```bash\nmake\n```\n\nend\n```\n", "refused")
    case("dots that the file has", "search", {"t.pyi": "def f() -> int:\n    ...\n"}, "t.pyi\n" + block("def f() -> int:\n    ...\n", "def f() -> str:\n    ...\n"),
         "right", {"t.pyi": "def f() -> str:\n    ...\n"})
    case("a class without its other methods", "definition", {"bank/account.py": PY}, "bank/account.py\n```python\nclass Account:\n    def deposit(self, amount):\n"
         "        self.balance += abs(amount)\n        return self.balance\n```\n", "said", {"bank/account.py": PY.replace("+= amount", "+= abs(amount)")})
    case("a new function beside another", "definition", {"lib/reader.js": JS}, "lib/reader.js\n```js\nconst load = (path) => {\n  const text = fs.readFileSync(path, \"utf8\");\n"
         "  return parse(text);\n};\n\nfunction count(path) {\n  return load(path).length;\n}\n```\n", "said",
         {"lib/reader.js": JS.replace("  return parse(text);\n};\n", "  return parse(text);\n};\n\nfunction count(path) {\n  return load(path).length;\n}\n")})
    case("a comment and a type above stay", "definition", {"src/area.c": C}, "src/area.c\n```c\nstatic int\narea(int width, int height)\n{\n    return abs(width * height);\n}\n```\n",
         "right", {"src/area.c": C.replace("width * height;", "abs(width * height);").replace("abs(width * height);", "abs(width * height);")})
    case("an import is new", "definition", {"bank/account.py": PY}, "bank/account.py\n```python\nimport json\n\ndef path_of(name):\n    return json.dumps(name)\n```\n", "said",
         {"bank/account.py": PY.replace("import os\n", "import os\nimport json\n").replace('os.path.join("accounts", name)', "json.dumps(name)")})
    case("text beside definitions", "definition", {"bank/account.py": PY}, "bank/account.py\n```python\nrun_everything()\n\ndef path_of(name):\n    return name\n```\n", "refused")
    case("defined twice", "definition", {"t.py": "def f():\n    return 1\n\n\ndef f():\n    return 2\n"}, "t.py\n```python\ndef f():\n    return 3\n```\n", "refused")
    case("not UTF-8, blocks", "search", {"t.c": "char *a = \"\u00e9\";\nint b;\n"}, "t.c\n" + block("int b;\n", "int c;\n"), "right", {"t.c": "char *a = \"\u00e9\";\nint c;\n"})
    case("a character that is none", "search", {"t.c": "int b;\n"}, "t.c\n" + block("int b;\n", "char *c = \"\ufffd\";\n"), "refused")
    case("lines beyond the file", "region", {"t.py": "a\n"}, "```\nb\n```\n", "refused", lines=[1, 9])
    case("a region, not indented", "region", {"t.py": "def f():\n    a = 1\n    return a\n"}, "```\na = 2\nreturn a\n```\n", "said", {"t.py": "def f():\n    a = 2\n    return a\n"}, lines=[2, 3])


HOSTILE = ["../x.py", "a/../../x.py", "/etc/passwd", "/tmp/x.py", ".git/config", ".git/hooks/pre-commit", ".GIT/config", ".git./config", ".git /hooks/x", "sub/.git/config",
           ".git::$INDEX_ALLOCATION/config", "git~1/config", ".g\u200cit/config", "\ufeff.git/config", ".git\\config", ".kedge.conf", ".KEDGE.conf", "sub/.kedge.conf", "a/./b.py", "a//b.py",
           "evil\u001b[2J.py", "evil\u202e.py", "HEAD", "dir/HEAD", ".kedge-0123456789abcdef", "kedge~1.con", "a\u0007.py", "C:/x.py", "x.py:stream", ".git"]


def hostile():
    for path in HOSTILE:
        case(f"hostile path {json.dumps(path)}", "file", {"t.py": "x = 1\n"}, f"File: `{path}`\n```\nevil\n```\n", "hostile")
        case(f"hostile path {json.dumps(path)}, block", "search", {"t.py": "x = 1\n"}, f"{path}\n" + block("", "evil\n"), "hostile")


for key, path, content, blocks, definitions, region in BASES:
    search_forms(key, path, content, blocks)
    whole_forms(key, path, content, blocks, definitions, list(region))
others()
hostile()
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "edits.json"), "w") as file:
    json.dump(cases, file, indent=0)
    file.write("\n")
print(len(cases), "cases")
