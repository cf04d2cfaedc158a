"""The harness's own run of each task, with the same model-free scores, gives the files that FARE writes.

  harness_live.py BENCHMARKS_DUMP SOURCE_DIR      exit status 77 (skipped) where lm-eval or the data is not there

Compared: every sample line (FARE's own fields left out) byte for byte, the task's entry of the results object, versions,
shots, sample counts, task hashes and the order of keys; and the harness's table printer reads FARE's file.
"""
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

TASKS = ["crows_pairs_english", "crows_pairs_english_age", "truthfulqa_mc1", "truthfulqa_mc2", "bbq", "bbq_generate", "winogender_all",
         "winogender_gotcha_male", "mmlu_anatomy", "mmlu_anatomy_continuation", "gsm8k", "arc_challenge", "piqa", "winogrande"]
TEXT = "The answer is 18, I think.\n#### 18"  # what the scorer writes after every prompt, as in dump_main.cpp
LIMIT = 60


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


def run_harness(lm_eval, make, data, name, folder):
    from lm_eval.api.model import LM
    from lm_eval.loggers import EvaluationTracker

    class ModelFree(LM):
        def __init__(self):
            super().__init__()
            self.random = random.Random(42)

        def loglikelihood(self, requests, **_):
            return [(-self.random.random(), False) for _ in requests]

        def loglikelihood_rolling(self, requests, **_):
            raise NotImplementedError

        def generate_until(self, requests, **_):
            return [TEXT for _ in requests]

    tracker = EvaluationTracker(output_path=str(folder))
    tracker.general_config_tracker.log_experiment_args("dummy", "pretrained=model-free", None, None, False)
    import torch.utils.collect_env
    torch.utils.collect_env.get_pretty_env_info = lambda: "not collected"  # takes seconds and is not compared
    make.read_records_at_hand(data)
    results = lm_eval.evaluator.simple_evaluate(model=ModelFree(), tasks=[name], limit=LIMIT, bootstrap_iters=100)
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    tracker.save_results_samples(task_name=name, samples=samples[name])
    results_file, = folder.glob("*/results_*.json")
    samples_file, = folder.glob("*/samples_*.jsonl")
    return results_file.read_text(encoding="utf-8"), samples_file.read_text(encoding="utf-8")


def without_own(entry):
    """A sample or a task's results without FARE's additions."""
    out = {key: value for key, value in entry.items() if key != "fare" and not key.startswith("fare_")}
    if "metrics" in out:
        out["metrics"] = [name for name in out["metrics"] if not name.startswith("fare_")]
    return out


def close(a, b):
    if not (isinstance(a, float) and isinstance(b, float)):
        return a == b
    return a == b or abs(a - b) <= 1e-12 or (a != a and b != b)


def compare(name, ours, theirs, ours_samples, theirs_samples, make_table):
    wrong = []
    our_lines, their_lines = ours_samples.splitlines(), theirs_samples.splitlines()
    if len(our_lines) != len(their_lines):
        wrong.append(f"{name}: {len(our_lines)} sample lines, the harness writes {len(their_lines)}")
    for number, (our_line, their_line) in enumerate(zip(our_lines, their_lines), 1):
        if our_line != json.dumps(json.loads(our_line), ensure_ascii=False):
            wrong.append(f"{name}: sample {number} is not spelled as Python spells it")
        our, their = without_own(json.loads(our_line)), json.loads(their_line)
        # exp() may differ in its last bit between numpy and the C library.
        for key, value in their.items():
            if isinstance(value, float) and close(our.get(key), value):
                our[key] = value
        if json.dumps(our, ensure_ascii=False) != their_line:
            wrong.append(f"{name}: sample {number} differs:\n  {json.dumps(our, ensure_ascii=False)[:600]}\n  {their_line[:600]}")
            break
    our, their = json.loads(ours), json.loads(theirs)
    if ours != json.dumps(our, indent=2, ensure_ascii=False):
        wrong.append(f"{name}: results are not spelled as Python spells them")
    our_entry, their_entry = without_own(our["results"][name]), their["results"][name]
    if list(our_entry) != list(their_entry) or not all(close(our_entry[key], their_entry[key]) for key in their_entry):
        wrong.append(f"{name}: results differ: {our_entry} {their_entry}")
    for part in ("versions", "n-shot", "n-samples", "task_hashes", "model_name", "model_name_sanitized"):
        if our[part] != their[part]:
            wrong.append(f"{name}: {part} differs: {our[part]} {their[part]}")
    if without_own(our["higher_is_better"][name]) != their["higher_is_better"][name]:
        wrong.append(f"{name}: higher_is_better differs")
    if [key for key in our if key in their] != list(their):
        wrong.append(f"{name}: keys missing or in another order: {list(our)} {list(their)}")
    config = our["configs"][name]
    for key, value in their["configs"][name].items():
        if key in ("task", "dataset_path", "dataset_name", "test_split", "validation_split", "doc_to_target", "description",
                   "target_delimiter", "fewshot_delimiter", "metric_list", "output_type", "repeats", "should_decontaminate"):
            if "<function" in str(value) or "def " in str(value) or callable(value):
                continue  # a Python function; ours says in words what it does
            if config.get(key) != value:
                wrong.append(f"{name}: config {key} is {config.get(key)!r}, the harness has {value!r}")
    table = make_table(our)
    if our["results"][name]["alias"] not in table or ("±" not in table and name != "bbq_generate"):
        wrong.append(f"{name}: the harness's table of our results lacks the task:\n{table}")
    return wrong


def main():
    dump, source = sys.argv[1], pathlib.Path(sys.argv[2])
    data = pathlib.Path(os.environ.get("FARE_DATA") or source / "../shared/data")
    if not (data / "crows-pairs").is_dir():
        skip("the public data is not there; set FARE_DATA to its folder (docs/data.md)")
    try:
        import lm_eval.evaluator
        from lm_eval.utils import make_table
    except ImportError:
        skip("lm-eval is not installed; make setup installs it into .venv")
    sys.path.insert(0, str(source / "tests/golden/harness_requests"))
    import make
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        subprocess.run([dump, str(data), str(folder / "ours"), str(LIMIT), *TASKS], check=True)
        for name in TASKS:
            theirs, their_samples = run_harness(lm_eval, make, data, name, folder / "theirs" / name)
            ours = (folder / "ours" / name / "results.json").read_text(encoding="utf-8")
            our_samples = (folder / "ours" / name / "samples.jsonl").read_text(encoding="utf-8")
            wrong += compare(name, ours, theirs, our_samples, their_samples, make_table)
    for line in wrong:
        print(line)
    print(f"{len(TASKS)} tasks compared with the harness, {len(wrong)} differences")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
