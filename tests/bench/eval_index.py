#!/usr/bin/env python3
"""Which files would a commit have touched? Past commits as questions to the index, put at the parent of each.

Question: the subject line, and apart from it the whole message without paths and trailers. Answer: the source files that
the commit changed and that its parent has. Only commits with one parent and one to ten changed source files count. The
index sees the parent's files and, through a HEAD of its own, no history after the parent. Beside it: BM25 of FTS5 over the
contents of the same files. Prints a table, and with JSON=file every question's ranks."""
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

kedge, repo = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
wanted = int(os.environ.get("COMMITS") or "200")
kept = os.environ.get("JSON")
LISTED = 50
BUDGETS = (4000, 8000, 16000)
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
    """The last ones that count, oldest first: (commit, parent, message, answer)."""
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
    return found[::-1]


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

    def bm25(self, question):
        words = list(dict.fromkeys(re.findall(r"\w+", question)))[:200]
        query = " OR ".join('"%s"' % word for word in words)
        names = {row: path for path, row in self.rows.items()}
        rows = self.search.execute("SELECT rowid FROM content WHERE content MATCH ? ORDER BY rank LIMIT ?", (query, LISTED)) if words else []
        return [names[row[0]] for row in rows]

    def kedge(self, question):
        done = subprocess.run([kedge, "context", "-C", self.root, "-n", str(LISTED), "--json", "--", question], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode > 1 or done.stderr:
            sys.exit("kedge context: " + done.stderr.decode("utf-8", "replace"))
        return [row["path"] for row in json.loads(done.stdout or b"[]")]


def score(listed, answer, sizes):
    ranks = [listed.index(path) for path in answer if path in listed]
    result = {"recall@%d" % k: sum(rank < k for rank in ranks) / len(answer) for k in (5, 10, 20)}
    result["mrr"] = 1 / (1 + min(ranks)) if ranks else 0
    for budget in BUDGETS:
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


def interval(ours, theirs):
    """95 % of a paired bootstrap over the questions."""
    draw = random.Random(1)
    drawn = []
    for _ in range(2000):
        chosen = draw.choices(range(len(ours)), k=len(ours))
        drawn.append(gap_closed([ours[i] for i in chosen], [theirs[i] for i in chosen]))
    drawn.sort()
    return drawn[50], drawn[1949]


def report(kind, results):
    keys = list(results[0]["kedge"])
    print("%-8s %-6s" % (kind, "") + "".join("%11s" % key for key in keys))
    for who in ("bm25", "kedge"):
        print("%-8s %-6s" % ("", who) + "".join("%11.3f" % mean([r[who][key] for r in results]) for key in keys))
    ours, theirs = [r["kedge"]["recall@10"] for r in results], [r["bm25"]["recall@10"] for r in results]
    low, high = interval(ours, theirs)
    print("%-8s gap between BM25 and 1 closed at 10 files: %.1f %% (%.1f to %.1f)" % ("", 100 * gap_closed(ours, theirs), 100 * low, 100 * high))


def main():
    chosen = commits()
    if not chosen:
        sys.exit("no commit of %s changes one to ten source files" % repo)
    place = tempfile.mkdtemp(prefix="kedge-eval-")
    os.environ["KEDGE_CACHE"] = os.path.join(place, "cache")
    try:
        tree = Worktree(place)
        results = {"subject": [], "message": []}
        for number, (commit, parent, message, answer) in enumerate(chosen):
            tree.set(parent)
            for kind, question in (("subject", message.splitlines()[0]), ("message", without_paths(message))):
                row = {"commit": commit, "question": question, "answer": answer}
                row["listed"] = tree.kedge(question)
                row["kedge"] = score(row["listed"], answer, tree.sizes)
                row["bm25"] = score(tree.bm25(question), answer, tree.sizes)
                results[kind].append(row)
            if sys.stderr.isatty():
                print("\r%d of %d" % (number + 1, len(chosen)), end="", file=sys.stderr)
        print("%s: %d commits, %d files at the last" % (os.path.basename(repo.rstrip("/")), len(chosen), len(tree.rows)))
        for kind, rows in results.items():
            report(kind, rows)
        if kept:
            with open(kept, "w") as file:
                json.dump(results, file, indent=1)
    finally:
        shutil.rmtree(place)


main()
