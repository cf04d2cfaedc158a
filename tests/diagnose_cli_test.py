"""Runs `fare diagnose` as a user would: killed and continued, interrupted, refused, repeated.

  FARE=build/fare python3 tests/diagnose_cli_test.py [part ..]

A small control model (`fare lab make X1`) in both weight modes. Standard library only.
"""

import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FARE = os.environ.get("FARE", "build/fare")
HERE = Path(__file__).parent
SIZE = ["--pairs", "160", "--transfer-pairs", "40", "--facts", "100", "--utility", "240", "--prompts", "20"]
NUM_KILLS = int(os.environ.get("FARE_NUM_KILLS", "6"))
failures = []


def check(name, good, detail=""):
    if not good:
        failures.append(name)
        print(f"  BAD {name} {detail}", flush=True)


def run(*arguments, status=0, says=()):
    done = subprocess.run([FARE, *map(str, arguments)], capture_output=True, text=True, timeout=560)
    text = done.stdout + done.stderr
    missing = [part for part in says if part not in text]
    check(" ".join(map(str, arguments)), done.returncode == status and not missing,
          f"\n    status {done.returncode}, expected {status}; missing {missing}\n    {text[-1500:]}")
    return done


def flags(model, out, *more):
    return ["diagnose", "--model", model, "--pairs", model / "pairs.jsonl", "--utility", model / "utility.jsonl", "--neutral",
            model / "neutral.jsonl", "--generation", model / "generation.jsonl", "--threads", "1", "--matmul", "onednn",
            "--out", out, *more]


def report_of(folder):
    """report.json without `runtime`, as text: every byte of the rest counts."""
    report = json.loads((folder / "report.json").read_text())
    del report["runtime"]
    return json.dumps(report, indent=1)


def tables_of(folder):
    return {p.name: p.read_bytes() for p in sorted((folder / "tables").glob("*.csv")) if p.name != "runtime.csv"}


def rows_of(folder):
    """Hash of every row, in the order of the key."""
    connection = sqlite3.connect(f"file:{folder}/rows.sqlite?mode=ro", uri=True)
    names = [row[1] for row in connection.execute("pragma table_info(rows)")]
    chosen = [name for name in names if name in ("model", "intervention", "task", "item", "scoring", "seed", "value_json")]
    digest, count = hashlib.sha256(), 0
    for row in connection.execute(f"select {','.join(chosen)} from rows order by {','.join(chosen[:6])}"):
        digest.update(repr(row).encode())
        count += 1
    connection.close()
    return count, digest.hexdigest()


def num_rows(folder):
    try:
        return rows_of(folder)[0]
    except sqlite3.Error:
        return 0


def same_run(name, a, b):
    check(f"{name}: report.json", report_of(a) == report_of(b))
    check(f"{name}: tables", tables_of(a) == tables_of(b))
    check(f"{name}: generated.jsonl", (a / "generated.jsonl").read_bytes() == (b / "generated.jsonl").read_bytes())
    check(f"{name}: rows", rows_of(a) == rows_of(b), f"{rows_of(a)[0]} against {rows_of(b)[0]} rows")


def start_and_stop(arguments, seconds, sign):
    """Starts the program and sends `sign` after `seconds`. Its status; None when it had ended before."""
    process = subprocess.Popen([FARE, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return None
    except subprocess.TimeoutExpired:
        process.send_signal(sign)
    process.wait(300)
    return process.returncode


def test_report(world):
    report = json.loads((world.run / "report.json").read_text())
    checked = subprocess.run([sys.executable, HERE / "check_report.py", world.run / "report.json"], capture_output=True, text=True)
    check("report.json keeps its schema", checked.returncode == 0, checked.stdout + checked.stderr)
    top = {(e["layer"], e["expert"]) for e in report["experts"] if e["combined_rank"] <= 2}
    check("the planted experts lead", top == {(1, 14), (1, 15)}, top)
    stages = {s["stage"]: s["answer"] for s in report["stages"] if s["candidate"] == report["headline"]["candidate"]}
    check("stage 5 is answered from the texts", stages.get(5) in ("yes", "unresolved"), stages)
    check("what was not run is named", {row["metric"] for row in report["generation"]["not_run"]} ==
          {"M1", "M1_s_amb", "M3_range", "M3_paired", "M4_honest", "M4_blocked"}, report["generation"]["not_run"])
    texts = [json.loads(line) for line in (world.run / "generated.jsonl").read_text().splitlines()]
    arms = ["base"] + [c["candidate"] for c in report["candidates"]]
    check("every arm wrote a greedy text and five samples for each prompt", len(texts) == len(arms) * 20 * 6, len(texts))
    check("texts name their arm", {text["arm"] for text in texts} == set(arms))
    check("the sentence is printed", report["headline"]["sentence"] in world.first.stdout)
    hashed = "sha256:" + hashlib.sha256((world.run / "thresholds.json").read_bytes()).hexdigest()
    check("the report names the hash of its thresholds", report["thresholds"]["sha256"] == hashed)
    for name in ("config.toml", "log.txt", "report.html", "rows.sqlite"):
        check(f"the run folder holds {name}", (world.run / name).stat().st_size > 0)
    check("nothing half-written stays", not list(world.run.glob("*.tmp*")) and not list(world.run.glob("*.part*")))
    for path in world.run.glob("tables/*.csv"):
        widths = {len(row) for row in csv.reader(path.read_text().splitlines())}
        check(f"{path.name} is a table", len(widths) == 1, widths)


def test_kill(world):
    """Killed at random moments and continued: the same bytes as in one go."""
    draw = random.Random(7)
    out = world.folder / "killed"
    stopped = 0
    for _ in range(NUM_KILLS):
        ended = start_and_stop(flags(world.model, out), draw.uniform(0.3, 0.8 * world.seconds), signal.SIGKILL)
        check("a killed run is killed", ended in (None, -signal.SIGKILL), ended)
        if ended is None:
            break
        stopped += 1
        check("a killed run leaves no verdict", not (out / "report.json").exists())
    check("at least one run was killed", stopped > 0)
    run(*flags(world.model, out))
    same_run("after kills", world.run, out)


def test_finished(world):
    """A finished run without its report: everything that cost time is read back, not computed again."""
    out = world.folder / "finished"
    shutil.copytree(world.run, out)
    (out / "report.json").unlink()
    run(*flags(world.model, out))
    same_run("without its report", world.run, out)
    parts = {part["part"]: part["forwards"] for part in json.loads((out / "report.json").read_text())["runtime"]["parts"]}
    for part in ("search", "upper bounds", "test split", "dose control", "upper bounds on test"):
        check(f"{part} is read back", parts[part] == 0, parts)


def test_interrupt(world):
    """Ctrl-C: status 130, rows kept; going on gives the same bytes."""
    out = world.folder / "interrupted"
    # As soon as a row is stored, however long that takes on this machine.
    process = subprocess.Popen([FARE, *map(str, flags(world.model, out))], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and num_rows(out) == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    ended = process.wait(300)
    check("Ctrl-C ends with 130", ended == 130, ended)
    check("rows are kept", num_rows(out) > 0)
    check("no verdict", not (out / "report.json").exists() and not (out / "report.html").exists())
    run(*flags(world.model, out))
    same_run("after Ctrl-C", world.run, out)


def test_refused(world):
    """Another configuration in the same folder: the difference is said, and nothing is changed."""
    before = report_of(world.run), rows_of(world.run), (world.run / "config.toml").read_bytes()
    run(*flags(world.model, world.run, "--seed", "5"), status=1, says=["seed", "0", "5"])
    run(*flags(world.model, world.run, "--limit", "50"), status=1, says=["limit", "50"])
    changed = world.folder / "pairs.jsonl"
    changed.write_text("".join(reversed((world.model / "pairs.jsonl").read_text().splitlines(True))))
    arguments = flags(world.model, world.run)
    arguments[arguments.index(world.model / "pairs.jsonl")] = changed
    run(*arguments, status=1, says=["pairs"])
    after = report_of(world.run), rows_of(world.run), (world.run / "config.toml").read_bytes()
    check("a refused run changes nothing", before == after)


def test_dry_run(world):
    """What would be run is said, and nothing is written."""
    out = world.folder / "dry"
    text = run(*flags(world.model, out, "--dry-run")).stdout
    check("the plan names the parts and the memory", all(word in text for word in ("search", "test split", "masking", "together", "memory")), text)
    check("a dry run writes nothing", not out.exists())


def test_compare(world):
    """Two runs side by side: one family of p values."""
    other, out = world.folder / "second", world.folder / "compared"
    run(*flags(world.model, other, "--limit", "200"))
    run("report", world.run, other, "--out", out)
    compared = json.loads((out / "comparison.json").read_text())
    sizes = [len(json.loads(report_of(folder))["candidates"]) for folder in (world.run, other)]
    check("all candidates form one family", compared["family_size"] == sum(sizes) == len(compared["candidates"]), compared["family_size"])
    check("both runs have a row", [row["run"] for row in compared["models"]] == [world.run.name, "second"])
    check("the difference in data is said", any("pairs" in note for note in compared["notes"]), compared["notes"])
    check("a page and tables", (out / "comparison.html").exists() and (out / "tables/models.csv").exists())
    run("report", world.run, "--out", out, status=2, says=["two"])


def test_thresholds(world):
    """Thresholds touched after the test split was opened."""
    out = world.folder / "touched"
    subprocess.run(["cp", "-r", world.run, out], check=True)
    (out / "report.json").unlink()
    text = (out / "thresholds.json").read_text()
    changed = re.sub(r'"delta_B": [\d.]+', '"delta_B": 0.5', text)
    check("the test changes the thresholds", text != changed)
    (out / "thresholds.json").write_text(changed)
    run(*flags(world.model, out), status=1, says=["thresholds.json"])
    check("no verdict under touched thresholds", not (out / "report.json").exists())


def test_modes(world):
    """The other weight mode is diagnosed too, and another copy of the model counts as the same by its content."""
    raw = world.folder / "x1-raw"
    run("lab", "make", "X1", *SIZE, "--weights", "raw", "--out", raw)
    out = world.folder / "raw"
    run(*flags(raw, out))
    report = json.loads((out / "report.json").read_text())
    check("the weight mode is told", report["model"]["weight_mode"] == "raw", report["model"]["weight_mode"])
    best = [e for e in report["experts"] if e["combined_rank"] <= 2]
    check("the planted experts lead in raw mode", {(e["layer"], e["expert"]) for e in best} == {(1, 14), (1, 15)})
    checked = subprocess.run([sys.executable, HERE / "check_report.py", out / "report.json"], capture_output=True, text=True)
    check("report.json of raw mode keeps its schema", checked.returncode == 0, checked.stdout)


def test_benchmarks(world):
    """Pairs and two sets of questions of published benchmarks: null pairs are built, and every stage has an answer."""
    data = Path(os.environ.get("FARE_DATA", ""))
    if not all((data / name).is_dir() for name in ("crows-pairs", "mmlu", "bbq", "winobias")):
        print("without the public data ($FARE_DATA) no benchmark is diagnosed")
        return
    model, out = world.folder / "tiny", world.folder / "benchmarks"
    run("lab", "make", "random", "--hidden", "16", "--layers", "1", "--experts", "4", "--top-k", "2", "--expert-width", "16", "--heads", "2",
        "--out", model)
    run("diagnose", "--model", model, "--tasks", "fare_crows_pairs", "--utility-tasks", "mmlu_anatomy", "mmlu_astronomy", "--data", data,
        "--limit", "40", "--threads", "2", "--out", out)
    report = json.loads((out / "report.json").read_text())
    check("every stage of real data has an answer", all(row["answer"] != "not_run" for row in report["stages"]), report["stages"])
    nulls = {row["null"]: row for row in report["data"]["nulls"]}
    check("null pairs are built where none are given", nulls["N3"]["source"] == "built" and nulls["N3"]["pairs"] > 1, nulls)
    margins = {row["pairs"]: row["n"] for row in report["bias"]["margins"]}
    check("their margins stand beside the pairs'", margins["N3"] == nulls["N3"]["pairs"], margins)


def test_skipped(world):
    """A pair longer than the model's context is skipped, counted in the report, and the status is 3."""
    rows = (world.model / "pairs.jsonl").read_text().splitlines()
    pair = json.loads(rows[0])
    word = pair["stereo"].split()[1]
    rows.append(json.dumps(pair | {"id": "long", "stereo": pair["stereo"] + f" {word}" * 300}))
    long = world.folder / "long.jsonl"
    long.write_text("\n".join(rows) + "\n")
    out = world.folder / "skipped"
    arguments = flags(world.model, out)
    arguments[arguments.index(world.model / "pairs.jsonl")] = long
    run(*arguments, status=3, says=["1 items were skipped"])
    files = {row["role"]: row for row in json.loads((out / "report.json").read_text())["data"]["files"]}
    check("the report counts what was skipped", files["pairs"]["skipped"] == 1 and files["pairs"]["skipped_note"], files["pairs"])


def test_redraw(world):
    """`fare report RUN` draws the same page and tables again."""
    page, tables = (world.run / "report.html").read_bytes(), tables_of(world.run)
    (world.run / "report.html").unlink()
    (world.run / "tables/stages.csv").unlink()
    run("report", world.run)
    check("the same page", (world.run / "report.html").read_bytes() == page)
    check("the same tables", tables_of(world.run) == tables)
    index = world.folder / "index.html"
    run("report", world.run, "--index", index, "--title", "a <title>")
    text = index.read_text()
    check("the index links the page", 'href="run/report.html"' in text)
    check("the title is escaped", "a &lt;title&gt;" in text and "a <title>" not in text)
    run("report", world.folder / "nowhere", status=1, says=["nowhere"])


def test_usage(world):
    """Wrong usage is 2, a missing or wrong file 1; nothing is written."""
    model, out = world.model, world.folder / "never"
    run("diagnose", "--model", model, "--out", out, status=2, says=["--pairs"])
    run("diagnose", "--model", model, "--pairs", model / "pairs.jsonl", "--out", out, status=2, says=["--utility"])
    run("diagnose", "--model", model, "--tasks", "fare_crows_pairs", "--out", out, status=2, says=["--utility-tasks"])
    run(*flags(model, out, "--profile", "huge"), status=2, says=["--profile"])
    run(*flags(model, out, "--tasks", "fare_crows_pairs"), status=2, says=["either"])
    run("diagnose", "--pairs", model / "pairs.jsonl", "--out", out, status=2, says=["--model"])
    run(*flags(world.folder / "no-model", out), status=1, says=["no-model"])
    arguments = flags(model, out)
    arguments[arguments.index(model / "utility.jsonl")] = model / "absent.jsonl"
    run(*arguments, status=1, says=["absent.jsonl"])
    check("nothing is written on wrong usage", not out.exists())


class World:
    def __init__(self, folder):
        self.folder = folder
        self.model = folder / "x1"
        self.run = folder / "run"
        run("lab", "make", "X1", *SIZE, "--out", self.model)
        began = time.monotonic()
        self.first = run(*flags(self.model, self.run))
        self.seconds = time.monotonic() - began
        print(f"one diagnosis: {self.seconds:.1f} s, {num_rows(self.run)} rows", flush=True)


def main():
    if not Path(FARE).exists():
        print(f"{FARE} is not there; set FARE to the program")
        return 1
    parts = {name[5:]: function for name, function in globals().items() if name.startswith("test_")}
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name))
        if not failures:
            for part in sys.argv[1:] or parts:
                parts[part](world)
                print(f"{part}: {'done' if not failures else len(failures)}", flush=True)
    print(f"diagnose: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
