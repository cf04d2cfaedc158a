"""Runs `fare eval` and `fare tasks` as a user would, on a random tiny model.

  FARE=build/fare python3 tests/eval_test.py        status 77 (skipped) where the public data is not there

Files, table, limits, refusals, interventions with and without effect, and runs that were killed and continued.
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
failures = 0


def check(name, holds, detail=""):
    global failures
    if not holds:
        failures += 1
        print(f"FAILED: {name} {detail}")


def fare(*arguments, status=0, says=(), env=None, cwd=None):
    if arguments[0] == "eval" and "--config" not in arguments and "--matmul" not in arguments:
        arguments += ("--matmul", "onednn")  # the faster library is measured otherwise, and may differ between two runs
    run = subprocess.run([FARE, *map(str, arguments)], capture_output=True, text=True, timeout=240, cwd=cwd,
                         env={**os.environ, **(env or {})})
    missing = [part for part in says if part not in run.stdout + run.stderr]
    check(" ".join(map(str, arguments)), run.returncode == status and not missing,
          f"\n  status {run.returncode}, expected {status}; missing {missing}\n{run.stdout}{run.stderr}")
    return run


def files(out):
    results, = out.glob("*/results_*.json")
    return results, sorted(out.glob("*/samples_*.jsonl"))


def comparable(out):
    """Everything that must not depend on when and in how many parts the run was made."""
    results, samples = files(out)
    text = re.sub(r'"(date|total_evaluation_time_seconds)": [^\n]*', r'"\1": -', results.read_text(encoding="utf-8"))
    stamp = results.name[len("results_"):-len(".json")]
    return text, {path.name.replace(stamp, "STAMP"): path.read_bytes() for path in samples}


def rows(out):
    with sqlite3.connect(out / "rows.sqlite") as store:
        return store.execute("select * from rows order by 1, 2, 3, 4, 5, 6").fetchall()


def first_run(folder, model):
    out = folder / "first"
    run = fare("eval", "--model", model, "--tasks", "crows_pairs_english,fare_crows_pairs,truthfulqa", "--limit", 20, "--data", DATA,
               "--out", out, "--threads", 1, says=["|truthfulqa_mc2    ", "fare_signed_diff", "results in"])
    results_path, samples = files(out)
    results = json.loads(results_path.read_text(encoding="utf-8"))
    names = ["crows_pairs_english", "fare_crows_pairs", "truthfulqa_mc1", "truthfulqa_mc2"]
    check("tasks in order", list(results["results"]) == names, list(results["results"]))
    check("group", results["group_subtasks"] == {"truthfulqa": names[2:]}, results["group_subtasks"])
    check("limit", all(results["n-samples"][n]["effective"] == 20 for n in names) and results["config"]["limit"] == 20
          and results["n-samples"]["crows_pairs_english"]["original"] == 1677)
    check("samples", len(samples) == 4 and all(len(p.read_text().splitlines()) == 20 for p in samples))
    check("folder", results_path.parent.name == results["model_name_sanitized"] and "/" not in results["model_name_sanitized"])
    block = results["fare"]
    check("fare block", block["format"] == "fare-eval/1" and block["intervention"] is None and block["rescored"]["requests"] >= 1
          and 0 <= block["rescored"]["largest_difference_nats"] < 1e-4 and block["model"]["fingerprint"].startswith("sha256:"), block)
    for name in names:
        task = block["tasks"][name]
        check(f"{name}: block", task["documents"] == 20 and task["data"] and task["errors"] and task["tables"]
              and set(task["near_tie"]) == {"decisions", "routing"} and task["truncated"]["tokens"] == 0
              and task["boundary_merge"]["requests"] == 0, task)
        clustered = {metric: error["se_cr1"] for metric, error in task["errors"].items() if error.get("se_cr1") is not None}
        check(f"{name}: the error of a fair mean is that over clusters", all(
            results["results"][name].get(f"{metric}_stderr,none") == error for metric, error in clustered.items()), (clustered, results["results"][name]))
    check("profiles", block["tasks"]["truthfulqa_mc1"]["profiles"] == {"acc": "compat", "fare_acc": "fair"})
    # A question's answers occur in both TruthfulQA tasks and are computed once: equal rows of equal units.
    by_item = {}
    for _, _, task, item, scoring, _, unit, value in rows(out):
        if scoring == "loglikelihood":
            by_item.setdefault(item, {})[task] = (unit, value)
    both = [v for v in by_item.values() if len(v) == 2 and set(v) == set(names[2:])]
    check("shared passes", len(both) > 20 and all(len(set(v.values())) == 1 for v in both), len(both))
    # Again: nothing is computed and the files stay.
    before = (results_path.read_bytes(), results_path.stat().st_mtime_ns)
    again = fare("eval", "--model", model, "--tasks", "crows_pairs_english,fare_crows_pairs,truthfulqa", "--limit", 20, "--data", DATA,
                 "--out", out, says=["were there from an earlier run"])
    check("same table", again.stdout == run.stdout)
    check("files stay", before == (results_path.read_bytes(), results_path.stat().st_mtime_ns) and files(out)[0] == results_path)
    fare("eval", "--config", out / "config.toml", "--model", model, says=["were there from an earlier run"])
    # Other settings are refused with the difference; moved data and models are not.
    fare("eval", "--model", model, "--tasks", "truthfulqa", "--limit", 20, "--data", DATA, "--out", out, status=1,
         says=["another configuration", "--tasks"])
    fare("eval", "--model", model, "--tasks", "crows_pairs_english,fare_crows_pairs,truthfulqa", "--limit", 21, "--data", DATA,
         "--out", out, status=1, says=["--limit: 20 there, 21 here"])
    return out


def samples_of(out, task):
    path, = out.glob(f"*/samples_{task}_*.jsonl")
    return {line["doc_id"]: line for line in map(json.loads, path.read_text(encoding="utf-8").splitlines())}


def baseline(folder, model, base):
    """A run compared with an earlier one: every number of a mean can be had from the two sample files by hand."""
    edit = folder / "baseline-edit.json"
    edit.write_text(json.dumps({"format": "fare-intervention/1", "name": "masked", "edits": [
        {"op": "mask", "layers": [0, 1], "experts": [0, 1, 2], "mode": "refill"}]}))
    tasks = ("--tasks", "crows_pairs_english,fare_crows_pairs,truthfulqa")
    out = folder / "against"
    run = fare("eval", "--model", model, *tasks, "--limit", 20, "--data", DATA, "--out", out, "--intervention", edit, "--baseline", base,
               says=["p adjusted", "MDE"])
    results, before = (json.loads(files(o)[0].read_text(encoding="utf-8")) for o in (out, base))
    block = results["fare"]
    check("baseline run", block["baseline_run"]["same_model"] and block["baseline_run"]["edits_sha256"] is None
          and block["baseline_run"]["model"] == before["fare"]["model"]["fingerprint"], block["baseline_run"])
    check("no baseline", before["fare"]["baseline_run"] is None and before["fare"]["comparisons"] == [])
    entries = {(e["task"], e["metric"]): e for e in block["comparisons"]}
    metrics = {(t, m.split(",")[0]) for t, values in results["results"].items() for m in values if "," in m and "_stderr" not in m}
    check("every metric is compared", set(entries) == metrics, set(entries) ^ metrics)
    changed = 0
    for (task, metric), entry in entries.items():
        first, second = samples_of(base, task), samples_of(out, task)
        pairs = [(first[d][metric], second[d][metric]) for d in first if first[d].get(metric) is not None and second[d].get(metric) is not None]
        if not pairs or isinstance(pairs[0][0], list):
            continue
        d = [b - a for a, b in pairs]
        changed += any(d)
        held = abs(entry["estimate"] - sum(d) / len(d)) < 1e-9 and entry["n"] == len(d)
        held = held and entry["discordant"] == {"increased": sum(x > 0 for x in d), "decreased": sum(x < 0 for x in d)}
        held = held and (entry["ci"] is None or entry["ci"][0] <= entry["estimate"] <= entry["ci"][1])
        check(f"{task} {metric}: as by hand", held, (entry, sum(d) / len(d)))
        if len(pairs) == 20 and f"{metric},none" in before["results"][task]:
            check(f"{task} {metric}: the baseline's own value", abs(entry["baseline"] - before["results"][task][f"{metric},none"]) < 1e-9, entry)
    check("something changed", changed > 3, changed)
    ps = sorted(e["p"] for e in block["comparisons"] if e["p"] is not None)
    check("adjusted", all(e["p_adjusted"] >= e["p"] for e in block["comparisons"] if e["p"] is not None) and f"all {len(ps)} metrics" in block["comparisons"][0]["family"])
    again = fare("eval", "--model", model, *tasks, "--limit", 20, "--data", DATA, "--out", out, "--intervention", edit, "--baseline", base)
    check("same comparison", again.stdout == run.stdout)
    # With itself nothing changed, and no interval claims to be a point.
    same = folder / "same"
    fare("eval", "--model", model, *tasks, "--limit", 20, "--data", DATA, "--out", same, "--baseline", base)
    for entry in json.loads(files(same)[0].read_text(encoding="utf-8"))["fare"]["comparisons"]:
        check("nothing changed", entry["estimate"] in (0, None) and (entry["ci"] is None or entry["ci"][0] < 0 < entry["ci"][1]), entry)
    # Refusals, before anything is computed.
    fare("eval", "--model", model, *tasks, "--limit", 21, "--data", DATA, "--out", folder / "more", "--baseline", base, status=1,
         says=["were not scored there", "--limit"])
    fare("eval", "--model", model, *tasks, "--limit", 20, "--data", DATA, "--out", out, "--baseline", out, status=2, says=["the same folder"])
    fare("eval", "--model", model, *tasks, "--limit", 20, "--data", DATA, "--out", folder / "more", "--baseline", folder / "nowhere", status=1,
         says=["rows.sqlite"])


def profiles_and_names(folder, model):
    for profile, other in (("compat", "fare_acc"), ("fair", '"acc,none"')):
        out = folder / profile
        fare("eval", "--model", model, "--tasks", "truthfulqa_mc1", "--limit", 2, "--data", DATA, "--out", out, "--metrics", profile)
        text = files(out)[0].read_text()
        check(f"profile {profile}: tables", "categories" in json.loads(text)["fare"]["tasks"]["truthfulqa_mc1"]["tables"])
        check(f"profile {profile}", '"config"' in text and f'{other}' not in text.split('"n-samples"')[0].replace("fare_acc", "fare_acc"))
    out = folder / "short"
    fare("eval", "--model", model, "--tasks", "fare_crows_pairs", "--limit", 1, "--data", DATA, "--out", out / "r.json", "--num-fewshot", 0)
    check("json path", len(list(out.glob("r_*.json"))) == 1 and len(list(out.glob("samples_fare_crows_pairs_*.jsonl"))) == 1, list(out.iterdir()))
    results = json.loads(next(out.glob("r_*.json")).read_text())
    check("one document has no standard error", results["results"]["fare_crows_pairs"]["pct_stereotype_stderr,none"] == "N/A")


def written_answers(folder, model):
    out = folder / "written"
    description = folder / "quiz.toml"
    (folder / "quiz.jsonl").write_text('{"q": "Sky?", "a": "blue", "b": "green", "right": "A"}\n{"q": "Grass?", "a": "blue", "b": "green", "right": 1}\n')
    description.write_text('name = "quiz"\ntype = "multiple_choice"\n[data]\nfile = "quiz.jsonl"\n[prompt]\ntext = "Q: {q}\\nA:"\nchoices = ["{a}", "{b}"]\n'
                           'answer = "right"\n')
    command = ("eval", "--model", model, "--tasks", "gsm8k,bbq_age,stereoset_intra,fare_wikitext103", "--config-task", description, "--limit", 2,
               "--data", DATA, "--out", out, "--num-fewshot")
    fare(*command, 5, status=2, says=["--num-fewshot 5", "bbq_Age"])
    command = command[:-1]
    first = fare(*command, says=["flexible-extract", "|quiz ", "bits_per_byte"])
    results_path, samples = files(out)
    results = json.loads(results_path.read_text(encoding="utf-8"))
    check("shots", results["n-shot"] == {"gsm8k": 5, "bbq_Age": 0, "fare_stereoset_intra": 0, "fare_wikitext103": 0, "quiz": 0}, results["n-shot"])
    lines = {path.name.split("_2")[0]: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] for path in samples}
    written = lines["samples_gsm8k"]
    check("one line per filter and document", [(s["filter"], s["doc_id"]) for s in written] ==
          [("strict-match", 0), ("strict-match", 1), ("flexible-extract", 0), ("flexible-extract", 1)])
    check("texts", written[0]["resps"][0][0] == written[2]["resps"][0][0] and written[0]["arguments"]["gen_args_0"]["arg_1"]["until"][0] == "Question:")
    stereoset = lines["samples_fare_stereoset_intra"][0]
    check("StereoSet sample", len(stereoset["arguments"]) == 3 and len(stereoset["fare"]["token_counts"]) == 3 and len(stereoset["fare"]["first_ll"]) == 3
          and all(value < 0 for value in stereoset["fare"]["rest_ll_without_start"]), stereoset)
    tokens = stereoset["fare"]["token_counts"][0]
    check("a sentence's first token and rest", tokens > 1 and abs(float(stereoset["resps"][0][0][0])) > abs(stereoset["fare"]["first_ll"][0]))
    check("BBQ tuples", lines["samples_bbq_Age"][0]["amb_bias_score"][3] in ("True", "False") and results["results"]["bbq_Age"]["acc,none"] >= 0)
    check("rolling sample", list(lines["samples_fare_wikitext103"][0]["arguments"]["gen_args_0"]) == ["arg_0"])
    check("quiz", results["results"]["quiz"]["sample_len"] == 2 and results["fare"]["tasks"]["quiz"]["data"][1]["path"] == "quiz.toml")
    check("missing files are named", "missing_files" not in results["fare"]["tasks"]["bbq_Age"]["tables"])
    check("written texts are rows", any(row[4] == "generation" for row in rows(out)))
    again = fare(*command, says=["were there from an earlier run"])
    check("the same table", again.stdout == first.stdout)
    fare("eval", "--config", out / "config.toml", "--model", model, says=["were there from an earlier run"])
    # The same run in two parts gives the same bytes: the rows of the first are deleted but for its written texts.
    shutil.copytree(out, folder / "part")
    results_path.rename(folder / "whole.json")
    with sqlite3.connect(folder / "part/rows.sqlite") as store:
        store.execute("delete from rows where scoring = 'loglikelihood' or unit not like 'eval/texts/%'")
    part_results, _ = files(folder / "part")
    part_results.unlink()
    command = tuple(folder / "part" if part == out else part for part in command)
    fare(*command)
    (folder / "whole.json").rename(results_path)
    check("two parts, the same bytes", comparable(folder / "part") == comparable(out))
    fare("eval", "--model", model, "--tasks", "gsm8k", "--limit", 1, "--max-length", 64, "--data", DATA, "--out", folder / "short", status=1,
         says=["task gsm8k"])
    fare("eval", "--model", model, "--config-task", folder / "absent.toml", "--data", DATA, "--out", folder / "no", status=1, says=["absent.toml"])
    fare("eval", "--model", model, "--data", DATA, "--out", folder / "no", status=2, says=["no task was named"])
    group = folder / "group"
    fare("eval", "--model", model, "--tasks", "mmlu_stem", "--limit", 1, "--num-fewshot", 1, "--metrics", "compat", "--data", DATA, "--out", group, says=["|stem "])
    results = json.loads(files(group)[0].read_text(encoding="utf-8"))
    mean = sum(results["results"][name]["acc,none"] for name in results["group_subtasks"]["mmlu_stem"]) / len(results["group_subtasks"]["mmlu_stem"])
    check("a group's mean", abs(results["groups"]["mmlu_stem"]["acc,none"] - mean) < 1e-12 and results["configs"]["mmlu_anatomy"]["num_fewshot"] == 1)


def refusals(folder, model):
    base = ["eval", "--model", model, "--data", DATA, "--out", folder / "refused"]
    nowhere = ["eval", "--model", folder / "nowhere", "--data", DATA, "--out", folder / "refused"]
    fare(*nowhere, "--tasks", "truthfulqa_mc3", status=2, says=["truthfulqa_mc3", "did you mean", "truthfulqa_mc2"])
    fare(*nowhere, "--tasks", "truthfulqa_mc1", "--num-fewshot", 5, status=2, says=["--num-fewshot 5", "truthfulqa_mc1", "no pool"])
    fare(*nowhere, "--tasks", "truthfulqa_mc1", "--metrics", "both", status=2, says=["--metrics both", "compat"])
    fare(*nowhere, "--tasks", "truthfulqa_mc1", "--limit", 0, status=2, says=["--limit"])
    fare(*nowhere, "--tasks", "", status=2)
    fare(*nowhere, "--tasks", "truthfulqa_mc1", status=1, says=["nowhere"])
    fare("eval", "--model", model, "--tasks", "truthfulqa_mc1", "--data", DATA, status=2, says=["--out"])
    empty = folder / "empty"
    empty.mkdir()
    fare("eval", "--model", folder / "nowhere", "--tasks", "truthfulqa_mc1", "--data", empty, "--out", folder / "refused", status=1,
         says=["no such file", "--data", "docs/data.md"])
    changed = folder / "changed/truthfulqa"
    changed.mkdir(parents=True)
    original = next(p for p in (DATA / "truthfulqa/mc_task.json", DATA / "truthfulqa/mc_task.json.gz") if p.exists())
    (changed / original.name).write_bytes(original.read_bytes() + b"\n") if original.suffix == ".json" else shutil.copy(original, changed)
    if original.suffix == ".json":
        arguments = ["--model", model, "--tasks", "truthfulqa_mc1", "--limit", 1, "--data", folder / "changed", "--out", folder / "accepted"]
        fare("eval", *arguments, status=1, says=["SHA-256", "--accept-changed-data"])
        fare("eval", *arguments, "--accept-changed-data", says=["not the published file"])
        block = json.loads(files(folder / "accepted")[0].read_text())["fare"]
        check("changed data recorded", block["tasks"]["truthfulqa_mc1"]["data"][0]["changed"] is True)
        fare("tasks", "--data", folder / "changed", "--check-hashes", status=1, says=["CHANGED"])
    (folder / "broken.json").write_text(json.dumps({"format": "fare-intervention/1", "name": "n", "edits": [{"op": "mosk"}]}))
    fare(*nowhere, "--tasks", "truthfulqa_mc1", "--intervention", folder / "broken.json", status=1, says=["broken.json", "mosk"])
    fare(*base, "--tasks", "truthfulqa_mc1", "--limit", 1, "--max-length", 3, status=1, says=["truthfulqa_mc1", "document 0", "--max-length"])
    fare(*base, "--tasks", "truthfulqa_mc1", "--limit", 1, "--prefix-token", 100000, status=2, says=["--prefix-token"])
    check("nothing written", not (folder / "refused").exists() or not list((folder / "refused").glob("*/results_*")))


def interventions(folder, model):
    def edit(name, *edits):
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"format": "fare-intervention/1", "name": name, "edits": edits}))
        return path
    arguments = ["--model", model, "--tasks", "fare_crows_pairs", "--limit", 5, "--data", DATA]
    fare("eval", *arguments, "--out", folder / "plain")
    strong = edit("strong", {"op": "mask", "layers": [1], "experts": [0, 1, 2], "mode": "refill"})
    fare("eval", *arguments, "--out", folder / "strong", "--intervention", strong)
    block = json.loads(files(folder / "strong")[0].read_text())["fare"]["intervention"]
    check("receipt", block["name"] == "strong" and len(block["sha256"]) == 64 and block["receipt"]["no_effect"] is False
          and block["receipt"]["layers"]["1"]["topk_changed_share"] > 0 and block["edits"][0]["op"] == "mask", block)
    check("scores changed", comparable(folder / "plain")[1] != comparable(folder / "strong")[1])
    nothing = edit("nothing", {"op": "add_logit", "layers": [1], "experts": [0], "values": [0]})
    fare("eval", *arguments, "--out", folder / "nothing", "--intervention", nothing, status=3, says=["no effect"])
    check("files in spite of no effect", comparable(folder / "plain")[1] == comparable(folder / "nothing")[1])
    fare("eval", *arguments, "--out", folder / "nothing", "--intervention", nothing, "--allow-no-effect")
    fare("eval", *arguments, "--out", folder / "nothing", "--intervention", strong, status=1, says=["--intervention"])
    one = edit("one", {"op": "mask", "layers": [1], "experts": [0, 1, 2], "mode": "refill", "where": {"requests": ["fare_crows_pairs/2/1"]}})
    fare("eval", *arguments, "--out", folder / "one", "--intervention", one)
    plain, edited = ([[float(r[0]) for r in json.loads(line)["filtered_resps"]] for line in list(comparable(folder / n)[1].values())[0].splitlines()]
                     for n in ("plain", "one"))
    moved = [(d, r) for d in range(5) for r in range(2) if abs(plain[d][r] - edited[d][r]) > 1e-3]
    check("an edit of one request", moved == [(2, 1)], moved)
    fare("eval", *arguments, "--out", folder / "replay", "--intervention", edit("replay", {"op": "force_routes", "file": "absent.safetensors"}),
         status=1, says=["absent.safetensors"])


def killed(folder, model):
    """kill -9 at several moments: the continued run ends with the same bytes, and the stamp of its first start."""
    edit = folder / "killed.json"
    edit.write_text(json.dumps({"format": "fare-intervention/1", "name": "killed",
                                "edits": [{"op": "add_logit", "layers": [0], "experts": [3], "values": [2.5]}]}))
    arguments = ["eval", "--model", model, "--tasks", "fare_crows_pairs,truthfulqa_mc1", "--limit", "40", "--data", DATA, "--threads", 1,
                 "--unit-rows", 512, "--matmul", "onednn", "--intervention", edit]
    whole = folder / "whole"
    start = time.monotonic()
    fare(*arguments, "--out", whole)
    seconds = time.monotonic() - start
    parts = folder / "parts"
    stored = []
    for share in (0.4, 0.5, 0.6):
        run = subprocess.Popen([FARE, *map(str, arguments), "--out", str(parts)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(share * seconds)
        run.send_signal(signal.SIGKILL)
        run.wait()
        stored.append(len(rows(parts)) if (parts / "rows.sqlite").exists() else 0)
    # A run that goes on may be done before it is killed; what has its final name is then whole.
    check("no half-written results", all(json.loads(path.read_text(encoding="utf-8"))["results"] for path in parts.glob("*/results_*.json")))
    stamped = json.loads((parts / "start.json").read_text()) if (parts / "start.json").exists() else None
    fare(*arguments, "--out", parts)
    if stamped:
        check("stamp of the first start", json.loads((parts / "start.json").read_text()) == stamped)
    check("some rows were kept", max(stored) > 0, stored)
    check("the same rows", rows(whole) == rows(parts))
    check("the same files", comparable(whole) == comparable(parts))
    print(f"killed runs had {stored} of {len(rows(whole))} rows")


def tasks(folder):
    fare("tasks", "--data", DATA, says=["truthfulqa_mc1", "Apache-2.0", "CC BY-SA 4.0", "there", "group truthfulqa: truthfulqa_mc1, truthfulqa_mc2"])
    fare("tasks", "--data", DATA, "--check-hashes", says=["as published"])
    fare("tasks", "--data", folder / "absent", status=1, says=["absent"])
    run = fare("tasks", cwd=folder, env={"FARE_DATA": ""}, says=["missing", "not there"])
    check("nothing is there", "yes" not in run.stdout, run.stdout)


def main():
    if not (DATA / "crows-pairs").is_dir():
        print("SKIPPED: the public data is not there; set FARE_DATA to its folder (docs/data.md)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = folder / "model"
        fare("lab", "make", "random", "--hidden", 32, "--layers", 2, "--experts", 8, "--top-k", 2, "--expert-width", 16, "--heads", 2,
             "--max-length", 2048, "--out", model)
        baseline(folder, model, first_run(folder, model))
        profiles_and_names(folder, model)
        written_answers(folder, model)
        refusals(folder, model)
        interventions(folder, model)
        killed(folder, model)
        tasks(folder)
    print(f"{failures} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
