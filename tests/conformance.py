"""Random checkpoints of every family through `fare score --trace routes` and through the reference: scores and routes agree.

  FARE=build/fare .venv/bin/python -B tests/conformance.py [--seed N] [--random N] [--jobs N] [--write] [FAMILY | CASE ..]

Takes every case of tests/golden/models/families with new weights, and N (default 6) configurations drawn at random for each
family. First table: per configuration the largest error of log-probabilities, router logits and weights, relative to the
largest magnitude, and the rows of all layers whose experts are equal. Second table: every plausible mistake, made in the
reference on purpose, with the largest error it causes; conformance must fail on each.

Status 1 when an error is above 1e-4, experts differ outside near-ties (selection values nearer than 1e-5), a mistake is not
seen, or a family of the registry has fewer than eight configurations; 77 when transformers or the program is not there.
--write puts both tables into docs/conformance.md once all is well.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import random
import re
import subprocess
import sys
import tempfile
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads crawl on a busy machine
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

try:
    import torch
    import transformers
    from safetensors.torch import load_file
except ImportError as missing:
    print(f"SKIPPED: {missing}; make setup installs the test requirements")
    sys.exit(77)

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "golden" / "models"))
import reference  # noqa: E402

FARE = os.environ.get("FARE", "build/fare")
PAGE = HERE.parent / "docs" / "conformance.md"
TOLERANCE, NEAR_TIE = 1e-4, 1e-5
QUANTITIES = ("log p", "router logits", "weights")


@dataclass
class Comparison:
    """Found against expected, over all sequences and layers of one checkpoint."""
    error: dict = field(default_factory=lambda: dict.fromkeys(QUANTITIES, 0.0))  # largest difference / largest magnitude
    rows: int = 0       # routed rows outside near-ties
    equal: int = 0      # of these, rows with the same set of experts
    near_ties: int = 0

    @property
    def good(self):
        return self.equal == self.rows and all(e <= TOLERANCE for e in self.error.values())

    @property
    def largest(self):
        return max(self.error.values())

    def note(self, quantity, found, expected):
        if expected.numel():
            difference = (found.double() - expected.double()).abs().max() / expected.abs().max().clamp_min(1e-30)
            self.error[quantity] = max(self.error[quantity], difference.nan_to_num(float("inf")).item())


def gaps(expected, l, k):
    """Per row, how far the last chosen expert is from the first that was not."""
    if f"gap.{l}" in expected:
        return expected[f"gap.{l}"]
    order = expected[f"router_logits.{l}"].softmax(-1).sort(-1, descending=True).values
    return order[:, k - 1] - order[:, k] if k < order.shape[1] else torch.ones(len(order))


def compare(found, outputs):
    """`found`: what fare wrote, per sequence; `outputs`: what the reference computed.

    Two experts nearer than NEAR_TIE may be exchanged; what depends on such an exchange (its row's later layers, later rows) is left out."""
    result = Comparison()
    for one, expected in zip(found, outputs):
        valid = torch.ones(len(one["targets"]), dtype=torch.bool)
        layers = [int(key.split(".")[1]) for key in expected if key.startswith("router_logits.")]
        for l in sorted(layers):
            logits, ids = expected[f"router_logits.{l}"], expected[f"ids.{l}"].long()
            dense = lambda chosen, weights: torch.zeros_like(logits).scatter(1, chosen, weights.float())  # noqa: E731
            assert one["ids"][l].shape == ids.shape, f"layer {l}: {tuple(one['ids'][l].shape)} experts, expected {tuple(ids.shape)}"
            same = (one["ids"][l].long().sort(1).values == ids.sort(1).values).all(1)
            clear = gaps(expected, l, ids.shape[1]) >= NEAR_TIE
            result.note("router logits", one["logits"][l][valid], logits[valid])
            result.rows += int((valid & clear).sum())
            result.equal += int((valid & clear & same).sum())
            result.near_ties += int((valid & ~clear).sum())
            result.note("weights", dense(one["ids"][l].long(), one["weights"][l])[valid & same],
                        dense(ids, expected[f"weights.{l}"])[valid & same])
            exchanged = (valid & ~same & ~clear).nonzero()
            if len(exchanged):
                valid[exchanged[0].item():] = False
        log_p = expected["logits"].double().log_softmax(-1).gather(1, one["targets"].unsqueeze(1)).squeeze(1)
        result.note("log p", one["log_p"][valid], log_p[valid])
    return result


def score(case, folder):
    """Runs `fare score` on the case's checkpoint: per sequence targets, log_p, and of MoE layers {l: tensor} logits, ids, weights."""
    (folder / "stored").mkdir()
    (folder / "stored" / "config.json").write_text(json.dumps(case["config"]))
    reference.write_weights(folder / "stored", case)
    sequences = reference.sequences_of(case)
    requests = [{"id": str(i), "context_ids": ids[:1].tolist(), "continuation_ids": ids[1:].tolist() + [0]} for i, ids in enumerate(sequences)]
    (folder / "requests.jsonl").write_text("".join(json.dumps(r) + "\n" for r in requests))
    run = subprocess.run([FARE, "score", "--model", folder / "stored", "--requests", folder / "requests.jsonl", "--out", folder / "scores.jsonl",
                          "--trace", "routes", "--dtype", "f32", "--threads", "1", "--quiet", "--max-length", "256", *case.get("flags", [])],
                         capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"fare score ended with {run.returncode}: {run.stderr.strip()}")
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    trace = load_file(folder / "scores.trace.safetensors")
    layers = sorted(int(name.split(".")[1]) for name in trace if name.endswith(".router_logits"))
    found = []
    for i, ids in enumerate(sequences):
        rows = slice(int(trace["offsets"][i]), int(trace["offsets"][i + 1]))
        assert trace["token_ids"][rows].tolist() == ids.tolist()
        part = lambda name: {l: trace[f"layers.{l}.{name}"][rows] for l in layers}  # noqa: E731
        found.append({"targets": torch.tensor(requests[i]["continuation_ids"]), "log_p": torch.tensor(scores[i]["token_logprobs_nats"]),
                      "logits": part("router_logits"), "ids": part("expert_ids"), "weights": part("expert_weights")})
    return found


CASES = []  # of this run; workers are forks and see them


def check(index):
    """(Comparison, {mistake: Comparison}) of one case, or what went wrong as text."""
    case = CASES[index]
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.logging.disable_progress_bar()
    try:
        with tempfile.TemporaryDirectory() as temporary:
            found = score(case, Path(temporary))
            right = reference.Reference(case, Path(temporary) / "reference")
            outputs = right.outputs()
            routed = {key.split(".")[1] for key in outputs[0] if key.startswith("router_logits.")}
            assert routed == {str(l) for l in found[0]["ids"]}, f"MoE layers {sorted(found[0]['ids'])}, expected {sorted(routed)}"
            return compare(found, outputs), {label: compare(found, right.mistaken(label)) for label in case["mistakes"]}
    except Exception:  # one broken case must not hide the others
        return traceback.format_exc()


def all_cases(seed, num_random):
    result = []
    for family in reference.families():
        rng = random.Random(f"{family} {seed}")
        result += [{**case, "seed": case["seed"] + 5000 + seed} for case in reference.part(family, "cases")()]
        result += [reference.part(family, "random_case")(i, rng) for i in range(num_random)]
    return result


def registered():
    """model_type of every family in the program's table."""
    return set(re.findall(r'^    \{"(\w+)", "\w+", &make_', (HERE.parent / "fare" / "models" / "registry.cpp").read_text(), re.MULTILINE))


def table(head, rows):
    words = ("family", "configuration", "storage", "layout", "mistake")
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "|".join("---" if name in words else "---:" for name in head) + "|",
                      *("| " + " | ".join(row) + " |" for row in rows)])


def name_of(case):
    return case["name"].removeprefix(case["family"] + "_").replace("_", " ")


def routes_text(c):
    return f"{c.equal} of {c.rows}" if c.equal != c.rows else "100%" if c.rows else "no routes"


def page(results, arguments):
    agree = [[case["family"], name_of(case), case["storage"], case["layout"], *(f"{c.error[q]:.0e}" for q in QUANTITIES), routes_text(c),
              str(c.near_ties)] for case, (c, _) in results]
    controls = [[case["family"], name_of(case), label, f"{c.largest:.1e}", f"{100 * (1 - c.equal / c.rows) if c.rows else 0:.0f}%"]
                for case, (_, mistakes) in results for label, c in mistakes.items()]
    summary = []
    for family in reference.families():
        own = [r for case, r in results if case["family"] == family]
        seen = [c.largest for _, mistakes in own for c in mistakes.values()]
        summary.append([family, str(len(own)), str(sum(c.rows for c, _ in own)), str(sum(c.near_ties for c, _ in own)),
                        f"{max(c.largest for c, _ in own):.0e}", str(len(seen)), f"{min(seen):.0e}" if seen else "-"])
    return f"""# Conformance of the model families

Written by `make conformance` (`tests/conformance.py --seed {arguments.seed} --random {arguments.random}`; transformers {transformers.__version__}, torch {torch.__version__.split("+")[0]}):
random checkpoints run through `fare score --trace routes` in float32 and through a reference. The reference is `transformers`
with its plain attention and experts; where it lacks a family or differs from the published model, `tests/golden/models/families`
says what takes its place.

Errors are the largest difference over the largest magnitude: of log-probabilities per sequence, of router logits and of applied
weights per layer. All must be at most {TOLERANCE:g}. Experts must be equal wherever the k-th and the (k+1)-th selection value
are {NEAR_TIE:g} or more apart; nearer rows are counted as near-ties.

{table(["family", "configurations", "routed rows", "near-ties", "largest error", "mistakes seen", "smallest mistake"], summary)}

## Configurations

Names with "random" are drawn by the script; the others are described by `config` in `tests/golden/models/cases`.

{table(["family", "configuration", "storage", "layout", *QUANTITIES, "equal experts", "near-ties"], agree)}

## Negative controls

Each mistake was made in the reference on purpose. The distance is the largest of the three errors that it causes; beside it the
share of routed rows outside near-ties with other experts. Conformance fails on every one of them.

{table(["family", "configuration", "mistake", "distance", "other experts"], controls)}
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=min(4, len(os.sched_getaffinity(0))))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("names", nargs="*", metavar="FAMILY|CASE")
    arguments = parser.parse_args()
    if not Path(FARE).is_file():
        print(f"SKIPPED: {FARE} is not there; make build builds it, or set FARE")
        return 77
    cases = all_cases(arguments.seed, arguments.random)
    bad = 0
    for family in sorted(registered()):
        if (count := sum(case["family"] == family for case in cases)) < 8:
            print(f"{family}: {count} configurations, at least 8 are needed (tests/golden/models/families/{family}.py)")
            bad += 1
    CASES[:] = [c for c in cases if not arguments.names or {c["name"], c["family"]} & set(arguments.names)]
    if not CASES:
        parser.error(f"no case or family is called {' or '.join(arguments.names)}")

    results = []
    print(f"{'case':44} {'log p':>8} {'router':>8} {'weights':>8} {'equal experts':>14} {'near-ties':>9}   smallest mistake")
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs, context) as pool:
        for case, outcome in zip(CASES, pool.map(check, range(len(CASES)))):
            if isinstance(outcome, str):
                print(f"{case['name']:44} BAD\n{outcome}    config {json.dumps(case['config'])}", flush=True)
                bad += 1
                continue
            results.append((case, outcome))
            c, mistakes = outcome
            nearest = min(mistakes.items(), key=lambda item: item[1].largest, default=None)
            print(f"{case['name']:44} {' '.join(f'{c.error[q]:8.0e}' for q in QUANTITIES)} {routes_text(c):>14} {c.near_ties:9d}   "
                  + (f"{nearest[1].largest:.0e} {nearest[0]}" if nearest else ""), flush=True)
            if not c.good:
                print(f"    BAD: differs from the reference; config {json.dumps(case['config'])}")
                bad += 1
            for label, wrong in mistakes.items():
                if wrong.good:
                    print(f"    BAD: the mistake '{label}' is not seen (distance {wrong.largest:.1e})")
                    bad += 1
    print(f"{len(CASES)} configurations, {sum(len(m) for _, (_, m) in results)} mistakes made on purpose; {bad} problems")
    if arguments.write and not arguments.names:
        if bad:
            print(f"{PAGE.name} is left as it was")
        else:
            PAGE.write_text(page(results, arguments))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
