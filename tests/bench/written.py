#!/usr/bin/env python3
"""Bytes that an hour of chat writes, against what is new in it, as a JSON line: written.py KEDGE [MODEL] [TURNS]

A repository of a few files is asked about, a turn a process as from a script, and edited every third turn; every sixth begins another conversation. Written is what the
processes sent to storage (/proc/PID/io, which Linux counts in pages of memory); new are the keys, values and indexes of tokens
that were not in the cache, and the texts and ids that came into the conversation. Both stores begin empty."""
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

kedge = os.path.abspath(sys.argv[1])
model = sys.argv[2] if len(sys.argv) > 2 else "smol"
turns = int(sys.argv[3]) if len(sys.argv) > 3 else 30  # one every two minutes
source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
files = ["engine/cache/kv_lock.h", "engine/cache/kv_lock.c", "engine/cache/kv_row.c", "engine/anchor/rules.c", "base/digest.c"]
questions = ["What does this do?", "Which locks are there, and who holds them?", "Where could this fail, and what happens then?",
             "Show a use of the first function of the last file.", "Name what is allocated here and who frees it."]


def run(arguments, cwd, environment):
    """Its last line on standard error, and the bytes it sent to storage."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(arguments, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with open(f"/proc/{process.pid}/io", encoding="ascii") as counts:  # what has ended, but was not waited for, still tells
            io = dict(line.strip().split(": ") for line in counts)
        process.wait()
        said.seek(0)
        text = said.read().decode()
    if process.returncode != 0:
        sys.exit(f"{' '.join(arguments[:2])}: {text.strip()}")
    return text.strip().splitlines()[-1], int(io["write_bytes"])


def number(path, query):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return db.execute(query).fetchone()[0] or 0


with tempfile.TemporaryDirectory() as place:
    repository, cache, state = (os.path.join(place, name) for name in ("repository", "cache", "state"))
    for path in files:
        os.makedirs(os.path.dirname(os.path.join(repository, path)), exist_ok=True)
        shutil.copy(os.path.join(source, path), os.path.join(repository, path))
    subprocess.run(["git", "init", "-q", repository], check=True)
    environment = dict(os.environ, KEDGE_CACHE=cache, KEDGE_STATE=state)
    written = computed = 0
    for turn in range(turns):
        if turn % 3 == 2:
            with open(os.path.join(repository, files[turn % len(files)]), "a", encoding="utf-8") as file:
                file.write(f"\nint added_{turn}(int number)\n{{\n    return number + {turn};\n}}\n")
        stats, bytes_written = run([kedge, "-m", model, "--greedy", "--stats", "-n", "96", "--session", f"talk {turn // 6}", "--file", files[turn % len(files)],
                                    "-p", f"{questions[turn % len(questions)]} ({turn})"], repository, environment)
        written += bytes_written
        computed += json.loads(stats)["computed_tokens"] + json.loads(stats)["decode_tokens"]
    keys = number(os.path.join(cache, "kv.db"), "SELECT sum(bytes) FROM block")
    texts = number(os.path.join(state, "sessions.db"), "SELECT (SELECT sum(length(bytes)) FROM content)"
                   " + sum(coalesce(length(text), 0) + coalesce(length(ids), 0)) FROM part")
    print(json.dumps({"test": "written", "model": model, "turns": turns, "computed_tokens": computed, "new_kv_bytes": keys, "new_text_bytes": texts,
                      "written_bytes": written, "written_to_new": round(written / (keys + texts), 3)}))
