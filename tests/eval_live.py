"""FARE's own forward pass on benchmark tasks against lm-evaluation-harness 0.4.13 with its transformers backend.

  FARE=build/fare python3 tests/eval_live.py        status 77 (skipped) where lm-eval, transformers or the data is not there

One random tiny checkpoint, the first documents of three tasks. Compared: requests and documents exactly, log-likelihoods
within 1e-4 nats, metrics and standard errors; then the harness's table printer must print FARE's file as FARE prints it.
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

FARE = os.path.abspath(os.environ.get("FARE", "build/fare"))
SOURCE = pathlib.Path(os.environ.get("FARE_SOURCE_DIR", pathlib.Path(__file__).parent.parent))
DATA = pathlib.Path(os.environ.get("FARE_DATA") or SOURCE / "../shared/data").resolve()
CHAT_LIMITS = {"crows_pairs_english": (8, None), "truthfulqa_mc1": (4, None), "mmlu_anatomy": (4, 2)}  # documents, examples
LIMITS = {"crows_pairs_english": 60, "truthfulqa_mc1": 20, "truthfulqa_mc2": 20}
NATS = 1e-4
wrong = []


def skip(reason):
    print(f"SKIPPED: {reason}")
    sys.exit(77)


def harness(lm_eval, make, model, name, limit, **more):
    make.read_records_at_hand(DATA)
    results = lm_eval.simple_evaluate(model=model, tasks=[name], limit=limit, bootstrap_iters=100, **more)
    return results["results"][name], results["samples"][name]


def compare(name, ours, our_samples, theirs, their_samples):
    if len(our_samples) != len(their_samples):
        wrong.append(f"{name}: {len(our_samples)} samples, the harness has {len(their_samples)}")
    largest = 0
    for our, their in zip(our_samples, their_samples):
        arguments = [list(a) for a in their["arguments"]]
        if [[a["arg_0"], a["arg_1"]] for a in our["arguments"].values()] != arguments:
            wrong.append(f"{name}: document {our['doc_id']}: other requests")
        if our["doc"] != their["doc"] or our["doc_id"] != their["doc_id"] or our["doc_hash"] != their["doc_hash"]:
            wrong.append(f"{name}: document {our['doc_id']} differs")
        for (ll, greedy), (their_ll, their_greedy) in zip(our["filtered_resps"], their["filtered_resps"]):
            largest = max(largest, abs(float(ll) - float(their_ll)))
            if greedy != str(bool(their_greedy)):
                wrong.append(f"{name}: document {our['doc_id']}: greedy differs")
    if largest > NATS:
        wrong.append(f"{name}: log-likelihoods differ by up to {largest:.2e} nats")
    for key, value in theirs.items():
        if isinstance(value, float) and abs(ours.get(key, 1e300) - value) > NATS:
            wrong.append(f"{name}: {key} is {ours.get(key)}, the harness has {value}")
    print(f"{name}: {len(our_samples)} documents, log-likelihoods within {largest:.1e} nats")


def cells(table):
    """The table without its padding; numbers as numbers (the printers choose decimals in different ways)."""
    def value(text):
        try:
            return round(float(text), 4)
        except ValueError:
            return text
    return [[value(cell.strip()) for cell in line.split("|")[1:-1]] for line in table.splitlines()
            if line.startswith("|") and not line.startswith("|--")]


def main():
    if not (DATA / "crows-pairs").is_dir():
        skip("the public data is not there; set FARE_DATA to its folder (docs/data.md)")
    try:
        import torch
        import accelerate  # the harness's transformers backend needs it
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.utils import make_table
    except ImportError as error:
        skip(f"{error}; make setup installs the reference libraries into .venv")
    torch.set_num_threads(2)
    sys.path.insert(0, str(SOURCE / "tests/golden/harness_requests"))
    import make
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        model = folder / "model"
        subprocess.run([FARE, "lab", "make", "random", "--hidden", "32", "--layers", "2", "--experts", "8", "--top-k", "2",
                        "--expert-width", "16", "--heads", "2", "--max-length", "2048", "--out", model], check=True, capture_output=True)
        # Log-probabilities in binary64: the harness's own sum in binary32 is 1e-4 off for a few hundred nats.
        reference = HFLM(pretrained=str(model), dtype="float32", softmax_dtype="float64", device="cpu", batch_size=8)
        for name, limit in LIMITS.items():
            run = subprocess.run([FARE, "eval", "--model", model, "--tasks", name, "--limit", str(limit), "--data", DATA, "--threads", "2",
                                  "--dtype", "f32", "--out", folder / name], capture_output=True, text=True)
            if run.returncode != 0:
                sys.exit(f"fare eval --tasks {name} ended with status {run.returncode}:\n{run.stderr}")
            results_path, = (folder / name).glob("*/results_*.json")
            samples_path, = (folder / name).glob("*/samples_*.jsonl")
            ours = json.loads(results_path.read_text(encoding="utf-8"))
            our_samples = [json.loads(line) for line in samples_path.read_text(encoding="utf-8").splitlines()]
            theirs, their_samples = harness(lm_eval, make, reference, name, limit)
            compare(name, ours["results"][name], our_samples, theirs, their_samples)
            table = make_table(ours)
            if cells(table) != cells(run.stdout):
                wrong.append(f"{name}: the harness prints another table\n{table}\n{run.stdout}")
        # Through a chat template: requests as the harness makes them, examples as turns.
        chat = folder / "chat"
        shutil.copytree(model, chat)
        shutil.copy(SOURCE / "tests/chat_templates/chatml_like.jinja", chat / "chat_template.jinja")
        reference = HFLM(pretrained=str(chat), dtype="float32", softmax_dtype="float64", device="cpu", batch_size=8)
        for name, (limit, shots) in CHAT_LIMITS.items():
            out = folder / f"chat-{name}"
            run = subprocess.run([FARE, "eval", "--model", chat, "--tasks", name, "--limit", str(limit), "--data", DATA, "--threads", "2",
                                  "--dtype", "f32", "--metrics", "compat", "--chat-template", "--out", out,
                                  *(["--num-fewshot", str(shots)] if shots else [])], capture_output=True, text=True)
            if run.returncode != 0:
                sys.exit(f"fare eval --chat-template --tasks {name} ended with status {run.returncode}:\n{run.stderr}")
            results_path, = out.glob("*/results_*.json")
            samples_path, = out.glob("*/samples_*.jsonl")
            ours = json.loads(results_path.read_text(encoding="utf-8"))
            if ours["chat_template"] != reference.tokenizer.chat_template or not ours["fewshot_as_multiturn"]:
                wrong.append(f"{name}: the results do not name the template")
            theirs, their_samples = harness(lm_eval, make, reference, name, limit, apply_chat_template=True, fewshot_as_multiturn=True,
                                            num_fewshot=shots)
            compare(f"{name}, chat", ours["results"][name],
                    [json.loads(line) for line in samples_path.read_text(encoding="utf-8").splitlines()], theirs, their_samples)
    for line in wrong:
        print(line)
    print(f"{len(LIMITS) + len(CHAT_LIMITS)} tasks compared, {len(wrong)} differences")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
