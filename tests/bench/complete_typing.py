#!/usr/bin/env python3
"""How long completions at the cursor take: types into `kedge complete` through a pseudo-terminal, pausing now and then.

usage: complete_typing.py KEDGE FILE [LINE [PAUSES [MODEL [OPTION...]]]]

A copy of FILE is opened at LINE (its middle), whose lines are taken out and typed again, some characters at a time. Measured is, in
seconds from the last key before a pause to the first text of the ghost on the screen, the wait before a completion begins included
(complete.pause). Prints a JSON object a pause, and one for all. What KEDGE is put behind comes from PREFIX; on a busy machine it
needs to come after this program: PREFIX="chrt -f 10" chrt -f 11 complete_typing.py ...
"""
import json
import os
import pty
import re
import select
import shutil
import struct
import sys
import tempfile
import time
import fcntl
import termios

GHOST = re.compile(rb"\x1b\[[0-9;]*38;5;244m([^\x1b]*)")  # the theme's dim; line numbers are told by being numbers
KEY_S = 0.09
GIVE_UP_S = 20


class Screen:
    def __init__(self, command, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, environment)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], max(0, seconds))
        try:
            return os.read(self.fd, 65536) if ready else b""
        except OSError:
            return b""

    def wait_for(self, text, seconds):
        seen, end = b"", time.monotonic() + seconds
        while text not in seen and time.monotonic() < end:
            seen += self.read(end - time.monotonic())
        return text in seen

    def send(self, text):
        os.write(self.fd, text.encode())


def is_ghost(output):
    return any(not part.strip().isdigit() and part.strip() for part in GHOST.findall(output))


def first_text(screen, last_key):
    """Seconds until the ghost's first text; None when the completion ended with nothing."""
    seen, completing = b"", False
    while time.monotonic() < last_key + GIVE_UP_S:
        seen += screen.read(0.01)
        if not completing and b"completing" in seen:
            completing, seen = True, seen[seen.index(b"completing"):]
        if completing and is_ghost(seen):
            return time.monotonic() - last_key
        if completing and b"Qwen" in seen:
            return None
    return None


def percentile(values, share):
    values = sorted(values)
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    kedge, source = sys.argv[1:3]
    lines = open(source, encoding="utf-8").read().split("\n")
    line = int(sys.argv[3]) if len(sys.argv) > 3 else len(lines) // 2
    pauses = int(sys.argv[4]) if len(sys.argv) > 4 else 30
    model = sys.argv[5] if len(sys.argv) > 5 else "q05"
    place = tempfile.mkdtemp()
    copy = os.path.join(place, os.path.basename(source))
    taken = 12
    open(copy, "w", encoding="utf-8").write("\n".join(lines[: line - 1] + [""] + lines[line - 1 + taken:]))
    text = "\n".join(part.strip() for part in lines[line - 1: line - 1 + taken])
    command = os.environ.get("PREFIX", "").split() + [kedge, "complete", "-m", model, *sys.argv[6:], f"{copy}:{line}"]
    screen = Screen(command, dict(os.environ, TERM="xterm-256color"))
    try:
        if not screen.wait_for(b"Qwen", 300):
            sys.exit("the model was not there in 5 minutes")
        screen.send("\x1b[H")
        first_text(screen, time.monotonic() - GIVE_UP_S + 15)  # what surrounds the cursor is read meanwhile
        measured, nothing, at = [], 0, 0
        for pause in range(pauses):
            for _ in range(3 + pause * 7 % 11):
                key = text[at % len(text)]
                at += 1
                screen.read(0)
                screen.send("\r" if key == "\n" else key)
                last_key = time.monotonic()
                time.sleep(KEY_S)
            seconds = first_text(screen, last_key)
            nothing += seconds is None
            if seconds is not None:
                measured.append(seconds)
                print(json.dumps({"test": "pause", "pause": pause, "first_text_s": round(seconds, 3)}), flush=True)
            screen.send("\x1b")
            time.sleep(0.1)
            screen.read(0)
        print(json.dumps({"test": "typing", "model": model, "pauses": pauses, "with_text": len(measured), "without": nothing,
                          "first_text_p50_s": percentile(measured, 0.5), "first_text_p95_s": percentile(measured, 0.95),
                          "load": os.getloadavg()[0]}))
        screen.send("\x11n")
        screen.wait_for(b"\x1b[?1049l", 10)
    finally:
        os.close(screen.fd)
        os.waitpid(screen.pid, 0)
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
