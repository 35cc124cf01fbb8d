#!/usr/bin/env python3
"""How long llama.cpp's server takes to go on behind a context that it saved from a slot, in a new process, as JSON lines.

usage: slot_restore.py LLAMA_SERVER MODEL_FILE FOLDER ROUNDS THREADS FILE... <QUESTION

The files, one after the other, are the context: read once, saved in FOLDER (which keeps it for the next run). Then each round begins a
server, restores the slot and asks the question behind the context; for the rounds called cold, what was saved is put out of the page
cache. The first token is counted from the start of the process, as `make bench-open` counts kedge's.
"""
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

SAVED = "open.bin"


def free_port():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]


class Server:
    """One process; its requests are made one at a time."""

    def __init__(self, program, model, folder, context, threads):
        self.began, self.port = time.monotonic(), free_port()
        self.log = open(os.path.join(folder, "server.log"), "wb")
        command = [program, "-m", model, "-c", str(context), "-np", "1", "--slot-save-path", folder, "--host", "127.0.0.1", "--port", str(self.port)]
        self.process = subprocess.Popen(command + (["-t", threads, "-tb", threads] if threads != "0" else []), stdout=self.log, stderr=self.log)

    def __enter__(self):
        while self.process.poll() is None:
            try:
                self.ask("/health")
                self.ready_s = time.monotonic() - self.began
                return self
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.01)
        sys.exit(f"llama-server ended with {self.process.returncode}; see {self.log.name}")

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def ask(self, path, body=None):
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def complete(self, prompt):
        return self.ask("/completion", {"prompt": prompt, "n_predict": 1, "temperature": 0, "cache_prompt": True, "id_slot": 0})["timings"]


def forget(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def save(begin, text, saved):
    with begin() as server:
        timings = server.complete(text)
        server.ask("/slots/0?action=save", {"filename": SAVED})
    print(json.dumps({"program": "llama-server", "test": "read", "tokens": timings["prompt_n"], "prefill_s": timings["prompt_ms"] / 1000,
                      "saved_bytes": os.path.getsize(saved)}), flush=True)


def bare_round(begin, question):
    with begin() as server:
        server.complete(question)
        return {"first_token_s": time.monotonic() - server.began}


def restored_round(begin, text, question):
    with begin() as server:
        before = time.monotonic()
        restored = server.ask("/slots/0?action=restore", {"filename": SAVED})
        restore_s = time.monotonic() - before
        timings = server.complete(text + question)
        return {"context_tokens": restored["n_restored"], "question_tokens": timings["prompt_n"], "load_s": server.ready_s, "restore_s": restore_s,
                "prefill_s": timings["prompt_ms"] / 1000, "first_token_s": time.monotonic() - server.began}


def main():
    program, model, folder, rounds, threads = sys.argv[1:6]
    question = sys.stdin.read()
    os.makedirs(folder, exist_ok=True)
    saved, kept = os.path.join(folder, SAVED), os.path.join(folder, "context.txt")
    if not os.path.exists(saved):
        with open(kept, "w", encoding="utf-8") as out:
            out.writelines(open(path, encoding="utf-8", errors="replace").read() for path in sys.argv[6:])
    with open(kept, encoding="utf-8") as file:  # as it was saved: the slot is of no use for another text
        text = file.read()

    def begin():
        return Server(program, model, folder, 32768, threads)

    if not os.path.exists(saved):
        save(begin, text, saved)
    bare = min(bare_round(begin, question)["first_token_s"] for _ in range(int(rounds)))
    for kind in "warm", "cold":
        runs = []
        for _ in range(int(rounds)):
            if kind == "cold":
                forget(saved)
            runs.append(restored_round(begin, text, question))
        best = min(runs, key=lambda run: run["first_token_s"])
        print(json.dumps({"program": "llama-server", "test": "open", "page_cache": kind, **best, "first_token_without_context_s": bare,
                          "later_s": best["first_token_s"] - bare}), flush=True)


if __name__ == "__main__":
    main()
