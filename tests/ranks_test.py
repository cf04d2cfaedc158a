"""Runs fare as several MPI ranks: the same bytes for any number of them, and runs that go on after a rank was killed.

  FARE=build/fare python3 tests/ranks_test.py [part ..]      status 77 (skipped) without mpirun or in a build without MPI

A small control model and, where the public data is, benchmarks. Standard library only.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

FARE = os.path.abspath(os.environ.get("FARE", "build/fare"))
SOURCE = pathlib.Path(os.environ.get("FARE_SOURCE_DIR", pathlib.Path(__file__).parent.parent))
DATA = pathlib.Path(os.environ.get("FARE_DATA") or SOURCE / "../shared/data").resolve()
RANKS = [1, 2, 3, 4]
MPIRUN = ["mpirun", "--oversubscribe", "--allow-run-as-root", "--bind-to", "none"]
failures = []


def check(name, good, detail=""):
    if not good:
        failures.append(name)
        print(f"  BAD {name} {detail}", flush=True)


def environment():
    return dict(os.environ, OMP_WAIT_POLICY="PASSIVE", OMPI_MCA_rmaps_base_oversubscribe="1",
                OMPI_MCA_mpi_yield_when_idle="1")  # more ranks than cores: who waits lets the others work


def run(ranks, *arguments, status=0, says=(), times_said=None):
    command = [*(MPIRUN + ["-n", str(ranks)] if ranks > 1 else []), FARE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, env=environment())
    text = done.stdout + done.stderr
    missing = [part for part in says if part not in text]
    check(" ".join(command), done.returncode == status and not missing,
          f"\n    status {done.returncode}, expected {status}; missing {missing}\n    {text[-1500:]}")
    for part, times in (times_said or {}).items():
        check(f"'{part}' is said {times} times", text.count(part) == times, text)
    return done


def pinned(*arguments):
    """Equal bytes need equal threads and an equal product library."""
    return [*arguments, "--threads", "1", "--matmul", "onednn"]


def rows_of(*stores):
    """Every row but the order of writing."""
    rows = set()
    for path in stores:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        rows |= set(connection.execute("select model, intervention, task, item, scoring, seed, value_json from rows"))
        connection.close()
    return rows


def diagnose_flags(model, out):
    return pinned("diagnose", "--model", model, "--pairs", model / "pairs.jsonl", "--utility", model / "utility.jsonl", "--neutral",
                  model / "neutral.jsonl", "--generation", model / "generation.jsonl", "--out", out)


def diagnosis_of(folder):
    report = json.loads((folder / "report.json").read_text())
    del report["runtime"]
    tables = {p.name: p.read_bytes() for p in (folder / "tables").glob("*.csv") if p.name != "runtime.csv"}
    return json.dumps(report, indent=1), tables, rows_of(folder / "rows.sqlite")


def first_difference(a, b):
    """Where two texts part, with what stands there."""
    for number, (left, right) in enumerate(zip(str(a).splitlines(), str(b).splitlines())):
        if left != right:
            return f"line {number + 1}: {left[:300]!r} against {right[:300]!r}"
    return ""


def compare(name, found, wanted):
    for part, (a, b) in enumerate(zip(found, wanted, strict=True)):
        check(f"{name}: part {part} is the same", a == b, first_difference(a, b) if a != b and part == 0 else "")


def make_model(folder):
    model = folder / "X1"
    run(1, "lab", "make", "X1", "--pairs", 120, "--transfer-pairs", 20, "--facts", 60, "--utility", 150, "--prompts", 20, "--out", model)
    return model


def test_diagnose(folder):
    model = make_model(folder)
    wanted = None
    for ranks in RANKS:
        out = folder / f"d{ranks}"
        run(ranks, *diagnose_flags(model, out), times_said={str(out / "report.html"): 1, "diagnosis: search": 1})
        check("ranks tidy up", not list(out.glob("rows.rank*")), sorted(out.iterdir()))
        found = diagnosis_of(out)
        wanted = wanted or found
        compare(f"diagnosis by {ranks} ranks", found, wanted)


def rank_processes(launcher, rank):
    """Processes started by `launcher` that are this rank."""
    found = []
    for process in pathlib.Path("/proc").iterdir():
        try:
            parent = int(re.search(r"\) . (\d+)", (process / "stat").read_text()).group(1))
            variables = (process / "environ").read_bytes().split(b"\0")
        except (OSError, AttributeError, ValueError):
            continue
        if parent == launcher and f"OMPI_COMM_WORLD_RANK={rank}".encode() in variables:
            found.append(int(process.name))
    return found


def count_rows(path):
    try:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        count = connection.execute("select count(*) from rows").fetchone()[0]
        connection.close()
        return count
    except sqlite3.Error:
        return 0


def test_kill(folder):
    """A rank dies in the middle; the job ends; another number of ranks goes on."""
    model = make_model(folder)
    run(1, *diagnose_flags(model, folder / "whole"))
    wanted = diagnosis_of(folder / "whole")
    for victim, again in ((1, 2), (0, 1)):
        out = folder / f"killed{victim}"
        job = subprocess.Popen([*MPIRUN, "-n", "3", FARE, *map(str, diagnose_flags(model, out))], stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env=environment())
        watched = out / ("rows.sqlite" if victim == 0 else f"rows.rank{victim}.sqlite")
        least = len(wanted[2]) // 8
        while job.poll() is None and count_rows(watched) < least:
            time.sleep(0.005)
        victims = rank_processes(job.pid, victim)
        check("the job still runs when the rank is killed", len(victims) == 1 and job.poll() is None, victims)
        for process in victims:
            os.kill(process, signal.SIGKILL)
        check("a job whose rank was killed fails", job.wait(timeout=60) != 0)
        kept = rows_of(*out.glob("rows*.sqlite"))
        check("the rows of the dead run are kept", least <= len(kept) < len(wanted[2]), f"{len(kept)} of {len(wanted[2])}")
        check("they are rows of the whole run", kept <= wanted[2])
        run(again, *diagnose_flags(model, out))
        found, name = diagnosis_of(out), f"rank {victim} of 3 killed, continued by {again}"
        compare(name, found, wanted)
        check("nothing is left behind", not list(out.glob("rows.rank*")), sorted(out.iterdir()))


def test_score(folder):
    model = folder / "model"
    run(1, "lab", "make", "random", "--family", "olmoe", "--hidden", 64, "--layers", 3, "--experts", 8, "--top-k", 2, "--seed", 3, "--out", model)
    requests = folder / "requests.jsonl"
    requests.write_text("".join(json.dumps({"id": str(i), "context_ids": [1 + i % 7, 2, 3 + i % 5], "continuation_ids": [4, 5 + i, 6][:1 + i % 3]})
                                + "\n" for i in range(120)))
    edits = folder / "edits"
    edits.mkdir()
    for layer in (0, 2):
        (edits / f"mask{layer}.json").write_text(json.dumps({
            "format": "fare-intervention/1", "name": f"mask{layer}", "model": {"model_type": "olmoe", "num_layers": 3, "num_experts": 8, "top_k": 2},
            "edits": [{"op": "mask", "layers": [layer], "experts": [1, 3], "mode": "refill"}]}))
    wanted = None
    for ranks in RANKS:
        out = folder / f"s{ranks}"
        run(ranks, *pinned("score", "--model", model, "--requests", requests, "--interventions", edits, "--unit-rows", 64, "--out", out))
        found = ({p.name: p.read_bytes() for p in sorted(out.iterdir())},)
        check("three runs are written", len(found[0]) == 5, sorted(found[0]))
        wanted = wanted or found
        compare(f"scores by {ranks} ranks", found, wanted)
    # To standard output, once; a trace is not divided.
    one, two = (run(ranks, *pinned("score", "--model", model, "--requests", requests, "--quiet")).stdout for ranks in (1, 2))
    check("standard output is that of one rank", one == two and one.count("\n") == 120)
    for ranks in (1, 2):
        run(ranks, *pinned("score", "--model", model, "--requests", requests, "--trace", "routes", "--out", folder / f"t{ranks}.jsonl"),
            says=["first rank computes alone"] if ranks > 1 else [])
    compare("a trace", ((folder / "t1.trace.safetensors").read_bytes(),), ((folder / "t2.trace.safetensors").read_bytes(),))
    texts = []
    prompts = folder / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"id": str(i), "prompt_ids": [3 + i, 5, 7]}) + "\n" for i in range(12)))
    for ranks in RANKS:
        out = folder / f"g{ranks}.jsonl"
        run(ranks, *pinned("generate", "--model", model, "--prompts", prompts, "--max-new-tokens", 8, "--samples", 2, "--unit-rows", 20,
                           "--out", out))
        texts.append((out.read_bytes(), out.with_suffix(".receipt.json").read_bytes()))
        compare(f"texts by {ranks} ranks", texts[-1], texts[0])
    # Errors: said once where all ranks meet them; commands that are not divided run once.
    run(2, "score", "--model", model, "--requests", folder / "missing.jsonl", status=1, times_said={"missing.jsonl": 1})
    run(2, "score", "--requests", requests, status=2, times_said={"--model is required": 1})
    run(2, "validate", model, times_said={"sound: 1": 1})


def test_eval(folder):
    if not DATA.is_dir():
        print("SKIPPED: no public data for the benchmarks; set FARE_DATA to its folder")
        return
    model = folder / "model"
    run(1, "lab", "make", "random", "--family", "mixtral", "--hidden", 64, "--layers", 2, "--experts", 4, "--top-k", 2, "--seed", 5, "--out", model)
    wanted = None
    for ranks in RANKS:
        out = folder / f"e{ranks}"
        run(ranks, *pinned("eval", "--model", model, "--tasks", "crows_pairs_english,truthfulqa_mc1", "--limit", 30, "--unit-rows", 1024,
                           "--data", DATA, "--out", out), times_said={"results in": 1})
        results, = out.glob("*/results_*.json")
        text = re.sub(r'"(date|total_evaluation_time_seconds)": [^\n]*', r'"\1": -', results.read_text(encoding="utf-8"))
        stamp = results.name[len("results_"):-len(".json")]
        found = (text, {p.name.replace(stamp, ""): p.read_bytes() for p in out.glob("*/samples_*.jsonl")}, rows_of(out / "rows.sqlite"))
        wanted = wanted or found
        compare(f"evaluation by {ranks} ranks", found, wanted)


def has_ranks(folder):
    """Two processes of this build see each other."""
    if shutil.which("mpirun") is None:
        print("SKIPPED: there is no mpirun; install openmpi-bin and libopenmpi-dev")
        return False
    done = subprocess.run([*MPIRUN, "-n", "2", FARE, "--version"], capture_output=True, text=True, timeout=60, env=environment())
    if "has no MPI" in done.stderr:
        print("SKIPPED: this build has no MPI; install libopenmpi-dev and configure again")
        return False
    check("mpirun starts fare", done.returncode == 0, done.stderr)
    return True


def main():
    tests = {"diagnose": test_diagnose, "kill": test_kill, "score": test_score, "eval": test_eval}
    with tempfile.TemporaryDirectory(prefix="fare-ranks-") as name:
        folder = pathlib.Path(name)
        if not has_ranks(folder):
            return 77
        for part in sys.argv[1:] or tests:
            begin = time.monotonic()
            (folder / part).mkdir()
            tests[part](folder / part)
            print(f"{part}: {time.monotonic() - begin:.1f} s", flush=True)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
