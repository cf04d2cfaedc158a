"""Fresh random checkpoints through `fare score --trace routes` and through transformers: scores and routes must agree.

  FARE=build/fare .venv/bin/python -B tests/models_live.py [--seed N] [--random N] [CASE ..]

Takes every case of tests/golden/models/families with new weights, and N (default 6) configurations drawn at
random for each family. Prints one line per case and ends with status 1 when a log-probability differs by more than 1e-4 of
the largest, a router logit or weight by more than 1e-4, or a set of experts outside near-ties (scores nearer than 1e-5).
Ends with status 77 when transformers or the program is not there.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads crawl on a busy machine
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

try:
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"SKIPPED: {missing}; make setup installs the test requirements")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).parent / "golden" / "models"))
import reference  # noqa: E402

FARE = os.environ.get("FARE", "build/fare")
TOLERANCE, NEAR_TIE = 1e-4, 1e-5


def compare(case):
    """(largest relative error of log-probabilities, of router logits, of weights, rows with other experts, near-ties)."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "stored").mkdir()
        (folder / "stored" / "config.json").write_text(json.dumps(case["config"]))
        reference.write_weights(folder / "stored", case)
        outputs = reference.Reference(case, folder / "reference").outputs()
        sequences = reference.sequences_of(case)
        requests = [{"id": str(i), "context_ids": ids[:1].tolist(), "continuation_ids": ids[1:].tolist() + [0]}
                    for i, ids in enumerate(sequences)]
        (folder / "requests.jsonl").write_text("".join(json.dumps(r) + "\n" for r in requests))
        run = subprocess.run([FARE, "score", "--model", folder / "stored", "--requests", folder / "requests.jsonl", "--out", folder / "scores.jsonl",
                              "--trace", "routes", "--dtype", "f32", "--threads", "2", "--quiet", "--max-length", "256"],
                             capture_output=True, text=True)
        if run.returncode != 0:
            raise RuntimeError(f"fare score ended with {run.returncode}: {run.stderr.strip()}")
        scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
        trace = load_file(folder / "scores.trace.safetensors")
        errors, wrong, ties = [0.0, 0.0, 0.0], 0, 0
        for i, ids in enumerate(sequences):
            expected = outputs[i]
            targets = torch.tensor(requests[i]["continuation_ids"])
            log_p = expected["logits"].double().log_softmax(-1)[torch.arange(len(ids)), targets]
            found = torch.tensor(scores[i]["token_logprobs_nats"], dtype=torch.double)
            errors[0] = max(errors[0], ((found - log_p).abs().max() / log_p.abs().max()).item())
            rows = slice(int(trace["offsets"][i]), int(trace["offsets"][i + 1]))
            assert trace["token_ids"][rows].tolist() == ids.tolist()
            for l in range(case["config"]["num_hidden_layers"]):
                logits = trace[f"layers.{l}.router_logits"][rows]
                errors[1] = max(errors[1], reference.distance(logits, expected[f"router_logits.{l}"]))
                k = expected[f"ids.{l}"].shape[1]
                order = expected[f"router_logits.{l}"].softmax(-1).sort(-1, descending=True).values
                gap = order[:, k - 1] - order[:, k] if k < order.shape[1] else torch.ones(len(ids))
                ties += int((gap < NEAR_TIE).sum())
                dense = lambda chosen, weights: torch.zeros_like(order).scatter(1, chosen.long(), weights.float())  # noqa: E731
                clear = gap >= NEAR_TIE
                other = dense(trace[f"layers.{l}.expert_ids"][rows], trace[f"layers.{l}.expert_weights"][rows])[clear]
                right = dense(expected[f"ids.{l}"], expected[f"weights.{l}"])[clear]
                wrong += int(((other > 0) != (right > 0)).any(1).sum())
                if len(right):
                    errors[2] = max(errors[2], (other - right).abs().max().item())
        return (*errors, wrong, ties)


def main():
    arguments = sys.argv[1:]
    option = lambda name, default: int(arguments[arguments.index(name) + 1]) if name in arguments else default  # noqa: E731
    seed, count = option("--seed", 0), option("--random", 6)
    names = {a for a in arguments if not a.startswith("--") and not a.isdigit()}
    if not Path(FARE).is_file():
        print(f"SKIPPED: {FARE} is not there; make build builds it, or set FARE")
        return 77
    transformers.logging.disable_progress_bar()
    rng = random.Random(seed)
    families = ("mixtral", "olmoe")
    cases = [{**case, "seed": case["seed"] + 5000 + seed} for family in families for case in reference.part(family, "cases")()
             if "favourite" not in case["special"]]
    cases += [reference.part(family, "random_case")(i, rng) for family in families for i in range(count)]
    bad = 0
    print(f"{'case':36} {'log p':>9} {'router':>9} {'weights':>9} {'other ids':>9} {'near-ties':>9}")
    for case in cases:
        if names and case["name"] not in names:
            continue
        try:
            log_p, router, weights, wrong, ties = compare(case)
        except Exception as problem:  # one broken case must not hide the others
            print(f"{case['name']:36} {problem}\n    config {json.dumps(case['config'])}")
            bad += 1
            continue
        good = log_p <= TOLERANCE and router <= TOLERANCE and weights <= TOLERANCE and wrong == 0
        bad += not good
        print(f"{case['name']:36} {log_p:9.1e} {router:9.1e} {weights:9.1e} {wrong:9d} {ties:9d}{'' if good else '  BAD ' + json.dumps(case['config'])}", flush=True)
    print(f"{bad} cases differ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
