#!/usr/bin/env python3
"""Whether completion at the cursor fills in what `kedge eval infill` does: has both fill in the same items, and compares.

usage: complete_infill.py KEDGE ITEMS [LIMIT [MODEL [OPTION...]]]

ITEMS: HumanEval-SingleLineInfilling.jsonl(.gz). Every item is given to `kedge complete --print --stdin` as an editor does, one
process each, its line and column in the text; no file stands in front, so that `kedge eval infill` runs with --bare. OPTION goes to
both, such as -t 2. Prints a JSON object an item where the two differ (what each filled in, what was wanted), and one for all: items,
same (text for text), exact matches of both. Interrupted, it tells of those it has.
"""
import gzip
import json
import signal
import subprocess
import sys
import tempfile


def items_of(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as lines:
        return {item["task_id"]: item for item in map(json.loads, lines)}


def line_of(text):
    """The first line that is not empty, without what surrounds it: what kedge eval infill compares."""
    return next((line.strip(" \t\r") for line in text.split("\n") if line.strip(" \t\r")), "")


def evaluated(kedge, path, limit, model, options):
    lines = subprocess.run([kedge, "eval", "infill", "-m", model, "--bare", "--limit", str(limit), "--json", *options, path], stdout=subprocess.PIPE, check=True).stdout
    return [row for row in map(json.loads, lines.splitlines()) if "task_id" in row]


def completed(kedge, item, model, options, folder):
    before, text = item["prompt"], item["prompt"] + item["suffix"]
    line, column = before.count("\n") + 1, len(before.rsplit("\n", 1)[-1].encode()) + 1
    place = f"{folder}/solution.py:{line}:{column}"
    command = [kedge, "complete", "--print", "--stdin", "--lines", "1", "--no-context", "-m", model, *options, place]
    return line_of(subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout.decode("utf-8", "replace"))


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    kedge, path = sys.argv[1:3]
    limit = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    model = sys.argv[4] if len(sys.argv) > 4 else "q05"
    options = sys.argv[5:]
    items = items_of(path)
    done = same = by_eval = by_complete = 0
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs behind
    try:
        with tempfile.TemporaryDirectory() as folder:
            for row in evaluated(kedge, path, limit, model, options):
                item, filled = items[row["task_id"]], row.get("line", "")
                text, wanted = completed(kedge, item, model, options, folder), line_of(item["canonical_solution"])
                done += 1
                same += text == filled
                by_eval += filled == wanted
                by_complete += text == wanted
                if text != filled:
                    print(json.dumps({"task_id": row["task_id"], "eval": filled, "complete": text, "wanted": wanted}), flush=True)
    except KeyboardInterrupt:
        pass
    print(json.dumps({"model": model, "items": done, "same": same, "exact_eval": by_eval, "exact_complete": by_complete}))


main()
