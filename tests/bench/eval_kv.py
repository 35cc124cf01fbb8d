#!/usr/bin/env python3
"""What keys and values of 8 bits cost: eval_kv.py KEDGE LIST [MODEL] [TOKENS] measures each text of LIST (a line of files, as
`kedge eval cbr --texts` takes it) with both types, writes rows of JSON to standard output, text by text; eval_kv.py --table ROWS
prints the table of them as Markdown.

Both are compared with the full look over keys and values of f16, and CBR is of sums over the texts: (window - nll) / (window - full),
window and full of f16. Intervals are of texts drawn again, 10,000 times."""
import json
import os
import random
import subprocess
import sys


def measure(kedge, path, model, tokens):
    with open(path, encoding="utf-8") as lines:
        texts = [line.split("#")[0].split() for line in lines]
    names = [files[-1] for files in texts if files]
    if len(set(names)) < len(names):
        sys.exit(f"{path}: rows are told apart by the last file of a text, and two texts end in the same one")
    for files in filter(None, texts):
        for kv in ("f16", "q8_0"):
            subprocess.run([os.path.abspath(kedge), "eval", "cbr", "-m", model, "-t", "1", "--kv", kv, "--read", "chain", "--look", "all,recall",
                            "--tokens", tokens, "--prototypes", "0", "--json", *files],
                           cwd=os.path.dirname(os.path.abspath(path)), stderr=subprocess.DEVNULL, check=True)


def ratio(texts, rows, full, least):
    """Of the benefit that `least` stands without, what rows keep."""
    benefit = sum(full[t][least] - full[t]["nll_full"] for t in texts)
    return sum(full[t][least] - rows[t]["nll"] for t in texts) / benefit if benefit > 0 else float("nan")


def with_interval(texts, rows, full, least, seed=1):
    draw = random.Random(seed)
    drawn = sorted(ratio(draw.choices(texts, k=len(texts)), rows, full, least) for _ in range(10000))
    return f"{ratio(texts, rows, full, least):.3f} ({drawn[250]:.3f} to {drawn[9749]:.3f})"


def mean(texts, rows, name):
    return sum(rows[t][name] for t in texts) / len(texts)


def table(path):
    with open(path, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    by = {}
    for row in rows:
        of = by.setdefault((row["kv"], row["look"]), {})
        if row["text"] in of:
            sys.exit(f"{path}: two rows are of {row['text']}")
        of[row["text"]] = row
    full = by["f16", "all"]
    texts = [t for t in full if all(t in of for of in by.values())]
    crossing = [t for t in texts if full[t]["nll_own"] - full[t]["nll_full"] >= 0.02]
    print("# Keys and values of 8 bits, measured\n\n    make eval-kv TEXTS=LIST\n")
    print("Both types beside the full look over keys and values of f16: CBR and cross-CBR are of sums over the texts, with the likelihoods of f16 as\n"
          "what everything and what nothing of the context gives; intervals (95 %) are of texts drawn again.\n")
    print(f"{rows[0]['model']}, {len(texts)} texts of {min(full[t]['tokens'] for t in texts)} to {max(full[t]['tokens'] for t in texts)} tokens, read as a chain; "
          f"cross-CBR over the {len(crossing)} in which other files count.\n")
    print("| keys and values | look | NLL | CBR | cross-CBR | constants | bytes a target token reads | NLL of each text |\n|---|---|---|---|---|---|---|---|")
    for (kv, look), of in sorted(by.items(), key=lambda item: (item[0][1], item[0][0])):
        cross = with_interval(crossing, of, full, "nll_own") if crossing else "-"
        print(f"| `{kv}` | {look} | {mean(texts, of, 'nll'):.4f} | {with_interval(texts, of, full, 'nll_window')} | {cross} "
              f"| {sum(of[t]['constants'] for t in texts)} of {sum(of[t]['constants_asked'] for t in texts)} | {mean(texts, of, 'bytes_per_token') / 1e6:.1f} MB "
              f"| {', '.join(format(of[t]['nll'], '.3f') for t in texts)} |")


if len(sys.argv) == 3 and sys.argv[1] == "--table":
    table(sys.argv[2])
elif len(sys.argv) >= 3:
    measure(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else "q05", sys.argv[4] if len(sys.argv) > 4 else "4096")
else:
    sys.exit(__doc__)
