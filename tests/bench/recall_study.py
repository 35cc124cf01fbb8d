#!/usr/bin/env python3
"""Tables of what recall_study_bench measured: recall_study.py FOLDER OUT.md, of every FOLDER/*.json."""
import glob
import json
import math
import os
import sys

DEFAULT = {"bits": "2 bits", "m": "16 bits", "page": "32", "reduction": "max of score less log-sum-exp", "re-ranking": "none",
           "rows that share a choice": "1 row", "k adaptive": "the same everywhere"}
SAID = {"bits": "bits of a code", "m": "how m is kept", "page": "tokens that share m and step", "k": "tokens chosen", "w": "window",
        "w at equal w + k": "window, w + k as by default", "reduction": "query heads that share a KV head",
        "re-ranking": "a second look at the best", "rows that share a choice": "neighbouring rows with one choice, read once for all of them",
        "k adaptive": "k shared out, its mean as by default"}


def load(folder):
    runs = []
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        with open(path, encoding="utf-8") as f:
            runs.append(json.load(f))
    for run in runs:
        for v in run["variants"]:
            v["bytes"] = v["index"] + v["rows"]
        standard = run["variants"][0]
        curve = sorted([v for v in run["variants"] if v["factor"] == "k" and v["k"] > 0] + [standard], key=lambda v: v["bytes"])
        for v in run["variants"]:
            v["against"] = None if v["factor"] == "k" else against(v, curve)
    return runs


def against(v, curve):
    """Error divided by what the default form has where k is chosen so that it reads the same bytes; None off its ends."""
    for a, b in zip(curve, curve[1:]):
        if a["bytes"] <= v["bytes"] <= b["bytes"] and a["error"] > 0 and b["error"] > 0:
            part = math.log(v["bytes"] / a["bytes"]) / math.log(b["bytes"] / a["bytes"])
            return v["error"] / math.exp(math.log(a["error"]) * (1 - part) + math.log(b["error"]) * part)
    return None


def percent(x, digits=1):
    return f"{100 * x:.{digits}f} %"


def row_of(name, number, v):
    ratio = "" if v["against"] is None else f"{v['against']:.2f}"
    return (f"| {name} | {number} | {v['k']:.0f} | {percent(v['index'])} | {percent(v['rows'])} | {percent(v['bytes'])} | {percent(v['outside'], 2)} | "
            f"{percent(v['outside95'])} | {percent(v['error'], 2)} | {ratio} |")


def default_name(run, factor):
    return {"k": str(run["k"]), "w": str(run["w"]), "w at equal w + k": f"w {run['w']}, k {run['k']}"}.get(factor) or DEFAULT[factor]


def factors(runs):
    seen = []
    for v in runs[0]["variants"][1:]:
        if v["factor"] not in seen:
            seen.append(v["factor"])
    return seen


def ordered(names):
    """Numbers by size, the default among them; else the default first."""
    if all(n.isdigit() for n in names):
        return sorted(names, key=int)
    return names


def table(runs, factor):
    lines = [f"### {factor}: {SAID[factor]}", "",
             "| " + factor + " | run | k | index | K and V | bytes | outside | p95 | error | against k |", "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"]
    standard = default_name(runs[0], factor)
    names = ordered([standard] + [v["name"] for v in runs[0]["variants"] if v["factor"] == factor])
    for name in names:
        for number, run in enumerate(runs, 1):
            v = run["variants"][0] if name == standard else next(v for v in run["variants"] if v["factor"] == factor and v["name"] == name)
            lines.append(row_of(f"**{name}**" if name == standard else name, number, v))
    return lines + [""]


def mean_log(values):
    return math.exp(sum(math.log(v) for v in values) / len(values))


def over_runs(runs, index):
    """The variant's means over the runs: against k (None where a run has none), error and bytes as parts of the default's."""
    vs = [run["variants"][index] for run in runs]
    ratio = None if any(v["against"] is None or v["against"] <= 0 for v in vs) else mean_log([v["against"] for v in vs])
    standards = [run["variants"][0] for run in runs]
    error = mean_log([max(v["error"], 1e-9) / s["error"] for v, s in zip(vs, standards)])
    size = mean_log([v["bytes"] / s["bytes"] for v, s in zip(vs, standards)])
    return {"factor": vs[0]["factor"], "name": vs[0]["name"], "against": ratio, "error": error, "bytes": size}


def told(v):
    name = f"{v['factor']} {v['name']}" if v["factor"] in ("k", "w", "page") else f"{v['factor']}: {v['name']}"
    return f"{name} ({v['bytes']:.2f} of the default's bytes, {v['error']:.2f} of its error)"


def compared(v):
    return f"{told(v)}: {v['against']:.2f} of the error that k alone reaches with these bytes"


def default_told(run, number):
    standard = run["variants"][0]
    exact = next(v for v in run["variants"] if v["factor"] == "bits" and v["index"] == max(u["index"] for u in run["variants"] if u["factor"] == "bits"))
    return (f"- run {number}, {run['tokens']} tokens: {percent(standard['bytes'])} of the bytes, {percent(standard['outside'], 2)} of the mass outside "
            f"(95th percentile {percent(standard['outside95'])}), error {percent(standard['error'], 2)}; with {exact['name']} and the same k "
            f"{exact['error'] / standard['error']:.2f} of that error")


def reading(runs):
    all_of = [over_runs(runs, i) for i in range(1, len(runs[0]["variants"]))]
    free = [v for v in all_of if v["factor"] != "k"]
    lines = ["## Reading", "", f"Means (geometric) over {len(runs)} run{'s' if len(runs) > 1 else ''}. A variant with less error for fewer or the same bytes beats the default outright; "
             "*against k* says whether its bytes are better spent than on another k.", "",
             "The default:", ""] + [default_told(run, number) for number, run in enumerate(runs, 1)] + [""]
    beats = sorted([v for v in free if v["bytes"] <= 1.0005 and v["error"] < 0.9995], key=lambda v: v["error"])
    lines.append("Less error for no more bytes than the default:" if beats else "Nothing has less error for no more bytes than the default.")
    lines += [""] + [f"- {told(v)}" for v in beats]
    ranked = sorted([v for v in free if v["against"] is not None], key=lambda v: v["against"])
    lines += ["", "Most kept per byte:", ""] + [f"- {compared(v)}" for v in ranked[:6]]
    lines += ["", "Least kept per byte:", ""] + [f"- {compared(v)}" for v in ranked[:-4:-1]]
    lines += ["", "By factor, the best against k beside the default (1.00):", ""]
    for factor in factors(runs):
        of = [v for v in ranked if v["factor"] == factor]
        if factor == "k" or not of:
            continue
        best = of[0]
        verdict = "better than the default" if best["against"] < 0.98 else "no better than the default" if best["against"] > 1.02 else "as good as the default"
        lines.append(f"- {factor}: {best['name']}, {best['against']:.2f}, {verdict}")
    shared = [v for v in all_of if v["factor"] == "rows that share a choice"]
    lines += ["", "Neighbours with one choice, error as part of the default's: " + "; ".join(f"{v['name']} {v['error']:.2f}" for v in shared) + "."]
    return lines + [""]


def layers(runs):
    lines = ["## Mass outside by layer, default", "", "| run | layers from the first, in per cent |", "|---|---|"]
    for number, run in enumerate(runs, 1):
        lines.append(f"| {number} | {' '.join(f'{100 * x:.1f}' for x in run['layers'])} |")
    return lines + [""]


def heading(runs):
    first = runs[0]
    lines = ["# What of full attention the choice keeps", "",
             "Written by `make study-recall`; do not edit. A text is read as one chain with full attention by the cpu backend. For sampled rows, in runs of "
             f"{first['run']} neighbours over the last {first['last']} positions, in all layers and heads, each variant chooses R beside S ({first['sinks']} tokens) and L; "
             f"one factor is changed at a time. Default (bold): {first['variants'][0]['name']}.", "",
             "| run | model | its own name | text | tokens | rows | heads measured | same choice | date |", "|--:|---|---|---|--:|--:|--:|--:|---|"]
    for number, run in enumerate(runs, 1):
        lines.append(f"| {number} | {os.path.basename(run['model'])} | {run['model_name']} | {run['text']} | {run['tokens']} | {run['rows']} | {run['rows'] * run['heads'] * run['layer_count']} | {percent(run['agreed'], 3)} | {run['date']} |")
    return lines + ["", "- *same choice*: of the tokens chosen here by default those that kg_backend_cpu chooses as well.",
                    "- *index*, *K and V*, *bytes*: read for one row, as a share of all keys and values that it sees (f16); bytes are both together. With exact scores the keys "
                    "count as index. What a second look reads "
                    "lies token by token and is counted in whole lines of 64 bytes. Rows that share a choice are counted as reading it once.",
                    "- *outside*: 1 - softmax mass under full attention of S, L and R; mean and 95th percentile over rows, layers and query heads.",
                    "- *error*: |o - o_full| / |o_full| of a query head's output, the softmax renormalised over S, L and R; mean over the same.",
                    "- *against k*: error divided by that of the default form with k such that it reads the same bytes (between measured ks by straight lines in "
                    "logarithms); below 1: bytes spent better than on k. Empty beyond the measured ks.",
                    "- Budgets by layer or head are shared out in proportion to the mass outside that the default leaves in the other half of the runs; by row k is the "
                    "smallest whose mass outside, as the index estimates it, is within a bound that is one for all. *k* is the mean number chosen.", ""]


def main():
    runs = load(sys.argv[1])
    if not runs:
        sys.exit(f"recall_study: no measurement in {sys.argv[1]}; run make study-recall TEXT=...")
    lines = heading(runs) + reading(runs) + ["## By factor", ""]
    for factor in factors(runs):
        lines += table(runs, factor)
    lines += layers(runs)
    with open(sys.argv[2], "w", encoding="utf-8") as f:
        f.write("\n".join(lines).rstrip("\n") + "\n")


main()
