#!/usr/bin/env python3
"""Which files would a commit have touched? Past commits as questions to the index, put at the parent of each.

eval_index.py KEDGE REPO OUT   writes the ranks of every question to OUT
eval_index.py --table OUT...   prints the tables of all of them as Markdown

Question: the subject line, and apart from it the whole message without paths and trailers. Answer: the source files that
the commit changed and that its parent has. Only commits with one parent and one to ten changed source files count. The
index sees the parent's files and, through a HEAD of its own, no history after the parent. Beside it: BM25 of FTS5 over the
contents of the same files, and where AIDER names a Python that has aider-chat, the ranking and the map of aider; what it said
of the same question and commit in an earlier OUT, which KNOWN names, is taken from there. AIDER_COMMITS: only the newest so many
are asked of aider, which takes long in large repositories. OUT is written after each commit, the newest first, so that a run can be
ended. BUDGETS= leaves out what is in sight within a budget, three quarters of the time."""
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

kedge, repo = (os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])) if len(sys.argv) == 4 else ("", "")
wanted = int(os.environ.get("COMMITS") or "200")
aider = os.environ.get("AIDER")
aider_commits = int(os.environ.get("AIDER_COMMITS") or "1000000")
known = os.environ.get("KNOWN")
LISTED = 50
BUDGETS = [int(budget) for budget in os.environ.get("BUDGETS", "4000 8000 16000").split()]
BYTES_PER_TOKEN = 3.2
SOURCE = set("c h cc hh cpp hpp cxx hxx cu m mm py pyi pyx js mjs cjs jsx ts mts cts tsx vue svelte go rs java kt kts scala rb php cs swift lua pl pm "
             "tcl sh ex exs erl hs ml mli clj dart r jl zig nim".split())


def git(*arguments, **options):
    return subprocess.run(["git", "-C", repo, *arguments], stdout=subprocess.PIPE, check=True, **options).stdout


def is_source(path):
    return os.path.splitext(path)[1][1:] in SOURCE


def changes(parent, commit):
    fields = git("diff-tree", "-r", "--no-renames", "--name-status", "-z", parent, commit).decode("utf-8", "surrogateescape").split("\0")
    return [(fields[i], fields[i + 1]) for i in range(0, len(fields) - 1, 2)]


def commits():
    """The last ones that count, newest first: (commit, parent, message, answer)."""
    found = []
    log = git("log", "--no-merges", "--format=%H %P%x00%B%x01").decode("utf-8", "replace")
    for entry in log.split("\x01"):
        head, _, message = entry.strip("\n").partition("\0")
        names = head.split()
        if len(names) != 2 or not message.strip():
            continue
        source = [(how, path) for how, path in changes(names[1], names[0]) if is_source(path)]
        answer = [path for how, path in source if how in "MD"]
        if 1 <= len(source) <= 10 and answer:
            found.append((names[0], names[1], message.strip(), answer))
        if len(found) == wanted:
            break
    return found


def without_paths(message):
    lines = [line for line in message.splitlines() if not re.match(r"^[A-Z][A-Za-z-]+-[Bb]y: |^Change-Id: |^git-svn-id: ", line)]
    return re.sub(r"\S*/\S*|\S+\.(?:" + "|".join(sorted(SOURCE)) + r")\b\S*", " ", "\n".join(lines)).strip()


def object_places(objects):
    """The directory and those that it borrows from, since what is borrowed counts as another's."""
    places = [objects]
    alternates = os.path.join(objects, "info", "alternates")
    if os.path.exists(alternates):
        with open(alternates) as file:
            for line in file.read().splitlines():
                places += object_places(os.path.join(objects, line)) if line else []
    return places


def link_or_copy(source, to):
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)


class Worktree:
    """The files of one commit, written without git's filters, in a repository with objects of its own."""

    def __init__(self, place):
        self.root = os.path.join(place, "tree")
        subprocess.run(["git", "init", "-q", self.root], check=True)
        for objects in object_places(os.path.join(repo, git("rev-parse", "--git-path", "objects").decode().strip())):
            shutil.copytree(objects, os.path.join(self.root, ".git", "objects"), copy_function=link_or_copy, ignore=lambda place, names: ["info"], dirs_exist_ok=True)
        self.blobs = {}
        self.objects = subprocess.Popen(["git", "-C", repo, "cat-file", "--batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.search = sqlite3.connect(":memory:")
        self.search.execute("CREATE VIRTUAL TABLE content USING fts5(text)")
        self.rows, self.sizes = {}, {}

    def read(self, blob):
        self.objects.stdin.write(blob + b"\n")
        self.objects.stdin.flush()
        header = self.objects.stdout.readline().split()
        if header[1] != b"blob":
            return None
        data = self.objects.stdout.read(int(header[2]))
        self.objects.stdout.read(1)
        return data

    def put(self, path, data):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as file:
            file.write(data)
        if b"\0" not in data[:8192] and len(data) <= 1 << 20:
            row = self.search.execute("INSERT INTO content(text) VALUES(?)", (data.decode("utf-8", "replace"),)).lastrowid
            self.rows[path], self.sizes[path] = row, len(data)

    def drop(self, path):
        os.unlink(os.path.join(self.root, path))
        row = self.rows.pop(path, None)
        if row is not None:
            self.search.execute("DELETE FROM content WHERE rowid = ?", (row,))

    def set(self, commit):
        now = {}
        for entry in git("ls-tree", "-r", "-z", commit).split(b"\0"):
            head, _, path = entry.partition(b"\t")
            if head.startswith(b"100"):
                now[os.fsdecode(path)] = head.split()[2]
        for path in [path for path, blob in self.blobs.items() if now.get(path) != blob]:
            self.drop(path)
            del self.blobs[path]
        for path, blob in now.items():
            data = self.read(blob) if path not in self.blobs else None
            if data is not None:
                self.put(path, data)
                self.blobs[path] = blob
        subprocess.run(["git", "-C", self.root, "read-tree", commit], check=True)
        with open(os.path.join(self.root, ".git", "HEAD"), "w") as head:
            head.write(commit + "\n")
        if subprocess.run([kedge, "index", "-C", self.root], stdout=subprocess.DEVNULL).returncode != 0:
            sys.exit("kedge index failed")

    def bm25(self, question):
        words = list(dict.fromkeys(re.findall(r"\w+", question)))[:200]
        query = " OR ".join('"%s"' % word for word in words)
        names = {row: path for path, row in self.rows.items()}
        rows = self.search.execute("SELECT rowid FROM content WHERE content MATCH ? ORDER BY rank LIMIT ?", (query, LISTED)) if words else []
        return [names[row[0]] for row in rows]

    def kedge(self, question, *options):
        done = subprocess.run([kedge, "context", "-C", self.root, *options, "--json", "--", question], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode > 1 or done.stderr:
            sys.exit("kedge context: " + done.stderr.decode("utf-8", "replace"))
        return list(dict.fromkeys(row["path"] for row in json.loads(done.stdout or b"[]")))


class Aider:
    def __init__(self, place):
        self.process = subprocess.Popen([aider, os.path.join(os.path.dirname(os.path.abspath(__file__)), "eval_index_aider.py")], cwd=place,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def ask(self, tree, question):
        request = {"root": tree.root, "files": sorted(tree.blobs), "question": question, "budgets": BUDGETS, "listed": LISTED}
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit("aider ended; see that %s has aider-chat" % aider)
        return json.loads(line)


def score(listed, answer, sizes):
    ranks = [listed.index(path) for path in answer if path in listed]
    result = {"recall@%d" % k: sum(rank < k for rank in ranks) / len(answer) for k in (5, 10, 20)}
    result["mrr"] = 1 / (1 + min(ranks)) if ranks else 0
    for budget in (4000, 8000, 16000):
        left, inside = budget, set()
        for path in listed:
            tokens = sizes.get(path, 0) / BYTES_PER_TOKEN
            if tokens <= left:
                left -= tokens
                inside.add(path)
        result["recall@%dk" % (budget // 1000)] = sum(path in inside for path in answer) / len(answer)
    return result


def mean(values):
    return sum(values) / len(values)


def gap_closed(ours, theirs):
    rest = 1 - mean(theirs)
    return (mean(ours) - mean(theirs)) / rest if rest else 0


def difference(ours, theirs):
    return mean(ours) - mean(theirs)


def interval(statistic, ours, theirs):
    """The statistic, and 95 % of a paired bootstrap over the questions."""
    draw = random.Random(1)
    drawn = []
    for _ in range(2000):
        chosen = draw.choices(range(len(ours)), k=len(ours))
        drawn.append(statistic([ours[i] for i in chosen], [theirs[i] for i in chosen]))
    drawn.sort()
    return "%.1f %% (%.1f to %.1f)" % (100 * statistic(ours, theirs), 100 * drawn[50], 100 * drawn[1949])


def known_of_aider():
    """(commit, question) -> what an earlier run measured of aider."""
    if not known:
        return {}
    with open(known) as file:
        rows = [row for rows in json.load(file)["results"].values() for row in rows if "aider" in row]
    return {(row["commit"], row["question"]): row for row in rows}


def ask(tree, other, said_before, commit, question, answer):
    row = {"commit": commit, "question": question, "answer": answer}
    row["kedge"] = score(tree.kedge(question, "-n", str(LISTED)), answer, tree.sizes)
    row["BM25"] = score(tree.bm25(question), answer, tree.sizes)
    row["seen"] = {"kedge": {}}
    for budget in BUDGETS:
        listed = tree.kedge(question, "--tokens", str(budget))
        row["seen"]["kedge"][str(budget)] = sum(path in listed for path in answer) / len(answer)
    before = said_before.get((commit, question))
    if before and before["answer"] == answer:
        row["aider"], row["seen"]["aider"] = before["aider"], before["seen"]["aider"]
    elif other:
        said = other.ask(tree, question)
        row["aider"] = score(said["ranked"], answer, tree.sizes)
        row["seen"]["aider"] = {budget: sum(path in listed for path in answer) / len(answer) for budget, listed in said["maps"].items()}
    return row


def write(out, whole):
    with open(out + ".new", "w") as file:
        json.dump(whole, file, indent=1)
    os.replace(out + ".new", out)


def measure(out):
    chosen = commits()
    if not chosen:
        sys.exit("no commit of %s changes one to ten source files" % repo)
    name = subprocess.run(["git", "-C", repo, "log", "-1", "--format=%h", chosen[0][0]], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
    place = tempfile.mkdtemp(prefix="kedge-eval-")
    os.environ["KEDGE_CACHE"] = os.path.join(place, "cache")
    try:
        tree, other = Worktree(place), Aider(place) if aider else None
        results, said_before = {"subject": [], "message": []}, known_of_aider()
        for number, (commit, parent, message, answer) in enumerate(chosen):
            tree.set(parent)
            files = len(tree.rows) if number == 0 else files
            for kind, question in (("subject", message.splitlines()[0]), ("message", without_paths(message))):
                if kind in os.environ.get("KINDS", "subject message").split():
                    results[kind].append(ask(tree, other if number < aider_commits else None, said_before, commit, question, answer))
            write(out, {"commits": number + 1, "last": name, "files": files, "results": {kind: rows for kind, rows in results.items() if rows}})
            if sys.stderr.isatty():
                print("\r%d of %d" % (number + 1, len(chosen)), end="", file=sys.stderr)
    finally:
        shutil.rmtree(place)


def column(rows, who, key):
    return [row[who][key] for row in rows]


def line(who, rows, keys, name=None):
    print("| %s |" % (name or who) + "|".join(" %.3f " % mean(column(rows, who, key)) for key in keys) + "|")


def tell_aider(rows, asked, keys):
    """asked: the rows that have its answer."""
    if len(asked) < len(rows):
        print("\nAider was asked of the newest %d commits only; of these:\n\n| |" % len(asked) + "|".join(" %s " % key for key in keys) + "|\n|---" + "|---" * len(keys) + "|")
        line("aider", asked, keys)
        line("kedge", asked, keys)
    print("\nMore recall than aider's ranking at 10 files: %s." % interval(difference, column(asked, "kedge", "recall@10"), column(asked, "aider", "recall@10")))
    both = [row for row in asked if len(row["seen"]["kedge"]) == len(row["seen"]["aider"]) == 3]
    if not both:
        return
    budgets = list(both[0]["seen"]["kedge"])
    where = "in sight at the same budget" + ("" if len(both) == len(rows) else ", newest %d commits" % len(both))
    print("\n| %s |" % where + "|".join(" %dk " % (int(b) // 1000) for b in budgets) + "|\n|---" + "|---" * len(budgets) + "|")
    seen = {who: [[row["seen"][who][b] for row in both] for b in budgets] for who in ("aider", "kedge")}
    for who, what in (("aider", "aider's map"), ("kedge", "`kedge context`")):
        print("| %s |" % what + "|".join(" %.3f " % mean(values) for values in seen[who]) + "|")
    print("| difference |" + "|".join(" %s " % interval(difference, *pair) for pair in zip(seen["kedge"], seen["aider"])) + "|")


def tell(name, whole):
    for kind, rows in whole["results"].items():
        asked = [row for row in rows if "aider" in row]
        keys = list(rows[0]["kedge"])
        print("\n%s, %d commits up to %s, %d files, the %s as the question:\n" % (name, whole["commits"], whole["last"], whole["files"], kind))
        print("| |" + "|".join(" %s " % key for key in keys) + "|\n|---" + "|---" * len(keys) + "|")
        for who in ("BM25", "aider", "kedge"):
            if all(who in row for row in rows):
                line(who, rows, keys)
        print("\nOf the gap between BM25 and 1 at 10 files: %s." % interval(gap_closed, column(rows, "kedge", "recall@10"), column(rows, "BM25", "recall@10")))
        if asked:
            tell_aider(rows, asked, keys)


def table(files):
    print("""# How well files are chosen

Made by `make eval-index REPO=path [COMMITS=200] [AIDER=python]`: past commits are the questions, the source files that they
changed the answers; tests/bench/eval_index.py says how. Intervals are 95 % of a paired bootstrap over the questions.

recall@10: of the files to be found, those among the first ten. recall@8k: those that are read when files are read whole, best
first, as far as they fit into 8,000 tokens (bytes / 3.2), the same for all programs. In sight, where that was measured: what a
program itself shows for that many tokens: files named in aider's map (signatures), files and parts of files of
`kedge context --tokens`.
Constants of the index were tuned on repositories that are not in here.""")
    for path in sorted(files):
        with open(path) as file:
            tell(os.path.basename(path)[:-len(".json")], json.load(file))


if sys.argv[1] == "--table":
    table(sys.argv[2:])
else:
    measure(sys.argv[3])
