"""fare against the programs its users would otherwise run: one table, with sizes and figures in out/bench/compare.json.

    python bench/compare.py [--quick | --full] [--add] [--rows P1,P2,..] [--dtypes f32,bf16] [--threads N] [--write]

P1, P4 scoring.py · P2 truthfulqa.py · P3 edits.py · P5 gradients_bench.cpp · P6 scoring.py, opening.py · P8 ranks.py · P9 generation.py ·
P10 scaling.py. Random OLMoE-shaped checkpoints: speed does not depend on what the weights say.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys

import bench
import crows_pairs
import edits
import generation
import opening
import ranks
import scaling
import scoring
import table
import truthfulqa

RACES = {"P1": scoring, "P2": truthfulqa, "P3": edits, "P9": generation}
OTHERS = ("P5", "P6", "P8", "P10")


def data_folder():
    """$FARE_DATA, else ../shared/data beside the project; None when neither is there."""
    for folder in (os.environ.get("FARE_DATA"), bench.ROOT.parent / "shared" / "data"):
        if folder and (pathlib.Path(folder) / crows_pairs.FILE).is_file():
            return pathlib.Path(folder).resolve()
    return None


def attribution(micro):
    """Weights of the router (raw, renormalised) -> forwards that the gradients of all layers and experts cost."""
    if not micro.is_file():
        print(f"SKIPPED: P5: {micro} is not there; bench/run.sh writes it")
        return None
    runs = json.loads(micro.read_text())["benchmarks"]
    return {run["label"]: run["forwards"] for run in runs if run["name"].startswith("BM_RouterGradients") and "forwards" in run}


def race(work, dtype, rows, wrong):
    rows = [name for name in rows if work.ends_in_time(name, dtype)]
    if not rows:
        return  # no model is made, no peer started
    shape = bench.SHAPES["small" if work.quick else "mid"]
    model = work.make_model("small" if work.quick else "mid", dtype, shape, words=not work.quick)
    setting = scoring.best_setting(work, model) if {"P1", "P2"} & set(rows) else (32, "eager")
    peers = bench.start_peers(work, model)
    for name in rows:
        try:
            if row := work.timed(name, dtype, lambda: RACES[name].measure(work, model, peers, setting)):
                yield row
        except SystemExit as problem:  # its results are wrong: no row, and the others go on
            print(problem, file=sys.stderr, flush=True)
            wrong.append(f"{name} {dtype}")
    for peer in peers.values():
        peer.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    thorough = parser.add_mutually_exclusive_group()
    thorough.add_argument("--quick", action="store_true", help="small model and sizes: a check that everything runs")
    thorough.add_argument("--full", action="store_true", help="peers run the whole work, once; hours")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    parser.add_argument("--add", action="store_true", help="keep what the last run measured and this one does not")
    parser.add_argument("--rows", default="all", help=f"of {', '.join([*RACES, *OTHERS])} (default all)")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, help="times that both sides run at most (default 3; quick 2, full 1)")
    parser.add_argument("--minutes", type=float, default=20, help="rows that would not end in this time are not begun, and are named (default 20; --full: no end)")
    parser.add_argument("--masks", type=int, help="masks of P3 (default 30; quick 12, full 100)")
    parser.add_argument("--no-mklfix", action="store_true", help="leave out the f32 peer with MKL's fast path forced")
    parser.add_argument("--fare", type=pathlib.Path, default=bench.ROOT / "build" / "fare")
    options = parser.parse_args()
    options.rounds = options.rounds or (2 if options.quick else 1 if options.full else 3)
    options.masks = options.masks or (12 if options.quick else 100 if options.full else 30)
    rows = [*RACES, *OTHERS] if options.rows == "all" else options.rows.split(",")
    for flag, given, known in (("--rows", rows, {*RACES, *OTHERS}), ("--dtypes", options.dtypes.split(","), {"f32", "bf16"})):
        if unknown := set(given) - known:
            parser.error(f"{flag}: unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    if not options.fare.is_file():
        parser.error(f"--fare: {options.fare} is not there; run 'make build' or name the program")
    data = data_folder()
    if data is None:
        print(f"SKIPPED: {crows_pairs.FILE} is not there; set FARE_DATA to the folder of the public data")
        return

    work = bench.Bench(options, data)
    results = {} if not options.add else json.loads((work.out / "compare.json").read_text(encoding="utf-8"))
    results |= {"options": {key: value if isinstance(value, (int, float, str)) else str(value) for key, value in vars(options).items()}}
    results.setdefault("rows", [])
    save = lambda: (work.out / "compare.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    if "P5" in rows:
        results["attribution"] = attribution(work.out / "micro.json")
    for name, key, module in (("P6", "opening", opening), ("P8", "ranks", ranks), ("P10", "scaling", scaling)):
        if name in rows:
            results[key] = work.timed(name, "", lambda: module.measure(work)) or results.get(key)
    races, wrong = [name for name in RACES if name in rows], []
    for dtype in options.dtypes.split(",") if races else ():
        for row in race(work, dtype, races, wrong):
            results["rows"] = [other for other in results["rows"] if (other["name"], other["dtype"]) != (row.name, row.dtype)]
            results["rows"].append(dataclasses.asdict(row))
            save()
    results["not_begun"] = work.not_begun
    results["rows"].sort(key=lambda row: row["name"])  # both types of a row together
    save()
    text = table.markdown(results)
    print("\n" + text)
    if options.write:
        table.write(text)
        if results.get("scaling"):
            scaling.draw(results["scaling"], scaling.PICTURE)
    if wrong:
        raise SystemExit(f"not measured, because the results differ: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
