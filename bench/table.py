"""The table of docs/performance.md, from out/bench/compare.json; between its markers with --write."""

import datetime
import importlib.metadata
import os
import pathlib
import platform
import re
import subprocess

from bench import ROOT

PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
GOALS = {  # (row, working type, peer) -> times as fast
    ("P1", "f32", "peer"): 4, ("P1", "f32", "mklfix"): 2, ("P1", "bf16", "peer"): 2.5,
    ("P2", "f32", "peer"): 50, ("P2", "f32", "mklfix"): 25, ("P2", "bf16", "peer"): 30,
    ("P3", "f32", "peer"): 25, ("P3", "f32", "mklfix"): 10, ("P3", "bf16", "peer"): 15,
    ("P9", "f32", "peer"): 2, ("P9", "bf16", "peer"): 2,
}
ROOF_GOAL = {"f32": 0.8, "bf16": 0.6}


def output_of(*command):
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def processor():
    """Model name and the instruction sets that decide the speed of products."""
    text = pathlib.Path("/proc/cpuinfo").read_text() if os.path.exists("/proc/cpuinfo") else ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = [shown for flag, shown in (("avx512f", "AVX-512"), ("avx512_bf16", "AVX512-BF16"), ("amx_bf16", "AMX-BF16"))
             if re.search(rf"\b{flag}\b", text)]
    return (name.group(1) if name else platform.machine()) + (f" ({', '.join(flags)})" if flags else "")


def conditions(results):
    options = results["options"]
    commit = output_of("git", "rev-parse", "--short", "HEAD") or "unknown"
    if output_of("git", "status", "--porcelain", "--untracked-files=no"):
        commit += " with uncommitted changes"
    loads = [this["load"] for row in results["rows"] for this in row["rounds"]]
    rounds = [len(row["rounds"]) for row in results["rows"]]
    spread = lambda values, digits: " to ".join(f"{v:.{digits}f}" for v in sorted({min(values), max(values)}))
    parts = [processor(), f"{os.cpu_count()} logical cores, {options['threads']} threads for each side", f"fare {output_of(options['fare'], '--version').split()[-1]}"]
    parts += [f"{name} {importlib.metadata.version(package)}" for name, package in
              (("PyTorch", "torch"), ("transformers", "transformers"), ("lm-evaluation-harness", "lm_eval"))]
    parts += [datetime.date.today().isoformat(), f"commit {commit}"]
    if rounds:
        parts += [f"{spread(rounds, 0)} rounds a row", f"load average {spread(loads, 1)} while measured"]
    return ", ".join(parts) + "." + (" Small sizes (`--quick`): only a check that everything runs." if options["quick"] else "")


def ratio_cell(row, label, with_goal):
    peer = row["peers"].get(label)
    if peer is None:
        return ""
    goal = GOALS.get((row["name"], row["dtype"], label)) if with_goal else None
    low, high = peer["range"]
    return f"**{peer['ratio']:.1f}** [{low:.1f}, {high:.1f}]" + (f" (goal {goal:g})" if goal else "")


def speed_table(rows, with_goal):
    lines = ["| | work | type | fare, s | peer, s | its setting | times as fast | with MKL's fast path | results |",
             "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        peer = row["peers"]["peer"]
        lines.append(f"| {row['name']} | {row['work']} | {row['dtype']} | {row['fare_seconds']:.1f} | {peer['seconds']:.1f} | {peer['setting']} | "
                     f"{ratio_cell(row, 'peer', with_goal)} | {ratio_cell(row, 'mklfix', with_goal)} | {row['check']} |")
    return lines


def cost_table(results):
    lines = []
    for row in results["rows"]:
        if row["name"] == "P1":
            v = row["values"]
            lines.append(f"| P4 | share of the GEMM roof in P1, {row['dtype']} ({v['roof_gflops']:.0f} GFLOP/s; peer {v['peer_roof_share']:.0%}) | "
                         f"{v['roof_share']:.0%} | {ROOF_GOAL[row['dtype']]:.0%} |")
    if results.get("attribution"):
        a = results["attribution"]
        lines += [f"| P5 | gradients of all layers and experts, {weights} weights, in forwards | {times:.1f} | 3 |" for weights, times in a.items()]
    for row in results["rows"]:
        if row["name"] == "P1":
            v = row["values"]
            lines.append(f"| P6 | peak memory over weights in P1, {row['dtype']} (peer {v['peer_peak_over_weights']:.2f}) | "
                         f"{v['fare_peak_over_weights']:.2f} | 1.15 |")
    if results.get("opening"):
        lines.append(f"| P6 | `fare validate` of a checkpoint of {results['opening']['bytes'] / 1e9:.1f} GB, s | {results['opening']['seconds']:.2f} | 1 |")
    if results.get("ranks"):
        lines.append(f"| P8 | two ranks of one core each, times as fast as one rank of one core | {results['ranks']['ratio']:.2f} | 1.8 |")
    return ["| | cost | measured | goal |", "|---|---|---|---|", *lines] if lines else []


def scaling_table(scaling):
    lines = ["| P10 | sizes | seconds | exponent (goal 1) |", "|---|---|---|---|"]
    for axis, r in scaling.items():
        lines.append(f"| {axis} | {', '.join(map(str, r['sizes']))} | {', '.join(f'{t:.2f}' for t in r['seconds'])} | {r['exponent']:.2f} |")
    return lines


def markdown(results):
    blocks = [[conditions(results)]]
    if results["rows"]:
        blocks += [speed_table(results["rows"], not results["options"]["quick"]), [f"* {note}" for row in results["rows"] for note in row["notes"]]]
    if results.get("not_begun"):
        blocks.append([f"Not begun, for lack of time: {', '.join(results['not_begun'])}."])
    blocks.append(cost_table(results))
    if results.get("scaling"):
        blocks += [scaling_table(results["scaling"]), ["![Time against size, both in doublings](images/scaling.svg)"]]
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def write(text):
    page = PAGE.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise SystemExit(f"{PAGE}: needs one '{BEGIN}' and one '{END}', between which the table goes")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{rest.split(END)[1]}", encoding="utf-8")
