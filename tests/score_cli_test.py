"""Runs `fare score` as a user would and compares what it writes with numbers recomputed here.

  FARE=build/fare .venv/bin/python tests/score_cli_test.py [part ..]

Random OLMoE and Mixtral checkpoints (`fare lab make random`); log-probabilities against transformers where it is
installed; routes, receipts and traces against plain numpy. Ends with status 77 without numpy and safetensors.
"""

import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
try:
    import numpy as np
    from safetensors.numpy import load_file
except ImportError as missing:
    print(f"SKIPPED: {missing}; make setup installs the test requirements")
    sys.exit(77)

FARE = os.environ.get("FARE", "build/fare")
SHAPE = ["--hidden", "64", "--layers", "3", "--experts", "8", "--top-k", "2", "--expert-width", "48", "--seed", "5"]
K, E, LAYERS = 2, 8, 3
failures = []


def check(name, good, detail=""):
    if not good:
        failures.append(name)
        print(f"  BAD {name} {detail}")


def fare(*arguments, status=0, says=()):
    run = subprocess.run([FARE, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    text = run.stdout + run.stderr
    missing = [part for part in says if part not in text]
    check(" ".join(map(str, arguments)), run.returncode == status and not missing,
          f"\n    status {run.returncode}, expected {status}; missing {missing}\n    {text}")
    return run.stdout


def score(model, requests, out, *more, status=0, says=()):
    fare("score", "--model", model, "--requests", requests, "--out", out, "--matmul", "onednn", "--threads", "2", "--quiet",
         *more, status=status, says=says)
    return out


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path, objects):
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    return path


def intervention(path, *edits, **more):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"format": "fare-intervention/1", "name": path.stem, "edits": list(edits), **more}))
    return path


def id_requests(count, seed, shortest=2, longest=30):
    """Requests that share beginnings: pairs, several choices of one question, repeats, and loners."""
    draw = random.Random(seed)
    ids = lambda n: [draw.randrange(256) for _ in range(n)]
    requests = []
    while len(requests) < count:
        context, n = ids(draw.randint(1, longest)), len(requests)
        for choice in range(draw.choice([1, 2, 4])):
            continuation = ids(draw.randint(shortest, 8))
            requests.append({"id": f"r{n}.{choice}", "context_ids": context, "continuation_ids": continuation,
                             "spans": {"first": [[0, 1]], "tail": [[1, len(continuation)]]}})
    draw.shuffle(requests)
    return requests[:count]


def fed(request, length=2048):
    """Fed tokens and the number of truncated ones."""
    whole = request["context_ids"] + request["continuation_ids"]
    kept = whole[-(length + 1):]
    return kept[:-1], len(whole) - len(kept)


def largest_gap(a, b):
    a, b = {s["id"]: s for s in a}, {s["id"]: s for s in b}
    if a.keys() != b.keys():
        return math.inf
    return max(abs(x - y) for i in a for x, y in zip(a[i]["token_logprobs_nats"], b[i]["token_logprobs_nats"], strict=True))


def softmax(z):
    p = np.exp(z - z.max(-1, keepdims=True, initial=-np.inf))
    return p / p.sum(-1, keepdims=True)


def route(logits, family, masked=()):
    """Experts and weights of each row: softmax over all, top k, renormalised for mixtral, raw for olmoe."""
    logits = logits.astype(np.float64).copy()
    logits[:, list(masked)] = -np.inf
    p = softmax(logits)
    ids = np.argsort(-logits, axis=1, kind="stable")[:, :K]
    weights = np.take_along_axis(p, ids, 1)
    return ids, weights / weights.sum(1, keepdims=True) if family == "mixtral" else weights


def dense(ids, weights):
    out = np.zeros((len(ids), E))
    np.put_along_axis(out, ids, weights, 1)
    return out


def test_scores(folder, model, family):
    """Values, and that they do not depend on how the work was packed."""
    requests = id_requests(60, seed=1)
    file = write_lines(folder / "requests.jsonl", requests)
    base = lines(score(model, file, folder / "base.jsonl"))
    check("request order", [s["id"] for s in base] == [r["id"] for r in requests])
    for s, r in zip(base, requests):
        good = (s["num_tokens"] == len(r["continuation_ids"]) == len(s["token_logprobs_nats"])
                and s["token_ids"] == r["continuation_ids"] and s["context_tokens"] == len(r["context_ids"])
                and s["truncated_tokens"] == 0 and s["boundary_merge"] is False
                and abs(s["logprob_nats"] - math.fsum(s["token_logprobs_nats"])) < 1e-12)
        check("fields of a score", good, str(s))
    check("field order", list(base[0]) == ["id", "logprob_nats", "num_tokens", "token_ids", "token_logprobs_nats", "is_greedy",
                                           "context_tokens", "truncated_tokens", "boundary_merge"])
    receipt = json.loads((folder / "base.receipt.json").read_text())
    check("base receipt", receipt["intervention"] is None and receipt["layers"] == {} and receipt["no_effect"] is False
          and receipt["tokens"] == sum(len(fed(r)[0]) for r in requests), str(receipt))

    score(model, file, folder / "again.jsonl")
    check("a repeated run is bit-equal", (folder / "again.jsonl").read_bytes() == (folder / "base.jsonl").read_bytes())
    stdout = fare("score", "--model", model, "--requests", file, "--matmul", "onednn", "--threads", "2", "--quiet")
    check("stdout holds the same bytes", stdout == (folder / "base.jsonl").read_text())
    for name, more in {"threads": ["--threads", "1"], "small units": ["--unit-rows", "40"], "one unit each": ["--unit-rows", "1"],
                       "no sharing": ["--no-prefix-sharing"], "mkl": ["--matmul", "mkl"]}.items():
        fare("score", "--model", model, "--requests", file, "--out", folder / "other.jsonl", "--quiet", "--threads", "2",
             *more) if name == "mkl" else fare("score", "--model", model, "--requests", file, "--out", folder / "other.jsonl",
                                               "--quiet", "--matmul", "onednn", *more)
        check(f"independent of {name}", largest_gap(base, lines(folder / "other.jsonl")) <= 1e-5)
    mixed = write_lines(folder / "mixed.jsonl", list(reversed(requests)))
    check("independent of order", largest_gap(base, lines(score(model, mixed, folder / "other.jsonl"))) <= 1e-5)
    alone = write_lines(folder / "alone.jsonl", [requests[7]])
    check("independent of company", largest_gap([base[7]], lines(score(model, alone, folder / "other.jsonl"))) <= 1e-5)

    cut = lines(score(model, file, folder / "cut.jsonl", "--max-length", "9"))
    for s, r in zip(cut, requests):
        rows, truncated = fed(r, 9)
        check("truncation", s["truncated_tokens"] == truncated and s["context_tokens"] == len(r["context_ids"]) - truncated, str(s))
    check("something was truncated", any(s["truncated_tokens"] for s in cut))
    compare_with_transformers(model, requests, base, cut)


def compare_with_transformers(model, requests, base, cut):
    try:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        print("  (transformers is not installed: values not compared)")
        return
    torch.set_num_threads(2)
    net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        for request, whole, short in zip(requests, base, cut):
            for length, found in ((2048, whole), (9, short)):
                rows, _ = fed(request, length)
                log_p = net(torch.tensor([rows])).logits[0].double().log_softmax(-1)[-len(request["continuation_ids"]):]
                expected = log_p.gather(1, torch.tensor(request["continuation_ids"])[:, None])[:, 0].tolist()
                gap = max(abs(a - b) for a, b in zip(expected, found["token_logprobs_nats"], strict=True))
                check("transformers", gap < 1e-4, f"{request['id']} L={length}: {gap}")
                greedy = log_p.argmax(-1).tolist() == request["continuation_ids"]
                check("is_greedy", greedy == found["is_greedy"])
        # A continuation that is greedy by construction.
        rows = [5, 6, 7]
        for _ in range(3):
            rows.append(int(net(torch.tensor([rows])).logits[0, -1].argmax()))
    with tempfile.TemporaryDirectory() as one:
        file = write_lines(Path(one) / "r.jsonl", [{"id": "g", "context_ids": rows[:3], "continuation_ids": rows[3:]}])
        check("a greedy continuation is seen", lines(score(model, file, Path(one) / "s.jsonl"))[0]["is_greedy"] is True)


def test_off_means_off(folder, model, family):
    requests = id_requests(40, seed=2)
    file = write_lines(folder / "requests.jsonl", requests)
    edits = folder / "edits"
    selectors = {"everywhere": None, "phase": {"phase": "generated"}, "prompt": {"phase": "prompt"}, "spans": {"spans": ["tail"]},
                 "positions": {"positions": [[1, 5]]}, "requests": {"requests": [r["id"] for r in requests[::3]]},
                 "token_ids": {"token_ids": list(range(0, 256, 2))}}
    off = {"reweight": {"op": "reweight", "layers": [1], "experts": [0, 3], "lambda": 0.0, "scores": [1.0, 2.0]},
           "scale": {"op": "scale_weight", "layers": "all", "experts": [1], "factor": 1.0},
           "add": {"op": "add_logit", "layers": "all", "experts": [2], "values": [0.0], "affects": "selection_and_weight"}}
    intervention(edits / "empty.json")
    for op, edit in off.items():
        for name, where in selectors.items():
            intervention(edits / f"{op}_{name}.json", {**edit, **({"where": where} if where else {})})
    score(model, file, folder / "out", "--interventions", edits, status=3, says=["had no effect"])
    base = (folder / "out/base.jsonl").read_bytes()
    for path in sorted(edits.glob("*.json")):
        check(f"{path.stem} changes no bit", (folder / "out" / (path.stem + ".jsonl")).read_bytes() == base)
        receipt = json.loads((folder / "out" / (path.stem + ".receipt.json")).read_text())
        check(f"{path.stem} no_effect", receipt["no_effect"] is (path.stem != "empty"), str(receipt))
    plain = score(model, file, folder / "plain.jsonl")
    check("the base of a folder is the plain run", plain.read_bytes() == base)
    score(model, file, folder / "e.jsonl", "--intervention", edits / "empty.json")
    check("an empty intervention alone", (folder / "e.jsonl").read_bytes() == base)
    score(model, file, folder / "s.jsonl", "--intervention", edits / "scale_spans.json", "--allow-no-effect", says=["had no effect"])
    check("an identity alone", (folder / "s.jsonl").read_bytes() == base)
    # Rows in scope are counted request by request, whoever shares them.
    for name, in_scope in {"everywhere": lambda r, p: True, "phase": lambda r, p: p >= len(r["context_ids"]),
                           "prompt": lambda r, p: p < len(r["context_ids"]), "positions": lambda r, p: 1 <= p < 5,
                           "spans": lambda r, p: p > len(r["context_ids"]),
                           "requests": lambda r, p: r["id"] in selectors["requests"]["requests"],
                           "token_ids": lambda r, p: fed(r)[0][p] % 2 == 0}.items():
        expected = sum(in_scope(r, p) for r in requests for p in range(len(fed(r)[0])))
        receipt = json.loads((folder / "out" / f"reweight_{name}.receipt.json").read_text())
        check(f"rows in scope of {name}", receipt["layers"]["1"]["tokens_in_scope"] == expected == receipt["layers"]["1"]["edits_applied"],
              f"{receipt['layers']} expected {expected}")


def test_trace_and_replay(folder, model, family):
    requests = id_requests(50, seed=3)
    file = write_lines(folder / "requests.jsonl", requests)
    base = lines(score(model, file, folder / "base.jsonl", "--trace", "routes"))
    plain = score(model, file, folder / "plain.jsonl")
    check("tracing changes no bit", plain.read_bytes() == (folder / "base.jsonl").read_bytes())
    trace = load_file(folder / "base.trace.safetensors")
    rows = [fed(r)[0] for r in requests]
    check("offsets", trace["offsets"].tolist() == np.cumsum([0] + [len(r) for r in rows]).tolist())
    check("token ids", trace["token_ids"].tolist() == sum(rows, []))
    check("names", sorted(trace) == sorted(["offsets", "token_ids"] + [f"layers.{l}.{n}" for l in range(LAYERS) for n in (
        "router_logits", "expert_ids", "expert_weights")]), str(sorted(trace)))
    for layer in range(LAYERS):
        logits = trace[f"layers.{layer}.router_logits"]
        ids, weights = route(logits, family)
        check(f"expert ids of layer {layer}", (ids == trace[f"layers.{layer}.expert_ids"]).all())
        check(f"weights of layer {layer}", np.abs(weights - trace[f"layers.{layer}.expert_weights"]).max() < 1e-6)
    types = {trace["offsets"].dtype: "int64", trace["token_ids"].dtype: "int32", trace["layers.0.expert_ids"].dtype: "int32",
             trace["layers.0.expert_weights"].dtype: "float32", trace["layers.0.router_logits"].dtype: "float32"}
    check("types", all(str(found) == name for found, name in types.items()))

    # An edit and its receipt, by hand: expert e of layer 0 masked. Everything below layer 0's router is untouched.
    masked = int(np.bincount(trace["layers.0.expert_ids"].ravel(), minlength=E).argmax())
    edit = intervention(folder / "mask.json", {"op": "mask", "layers": [0], "experts": [masked], "mode": "refill"})
    edited = lines(score(model, file, folder / "mask.jsonl", "--intervention", edit, "--trace", "routes"))
    check("the mask moved scores", largest_gap(base, edited) > 1e-3)
    receipt = json.loads((folder / "mask.receipt.json").read_text())
    before, after = (dense(*route(trace["layers.0.router_logits"], family, m)) for m in ((), (masked,)))
    unit = lambda w: w / w.sum(1, keepdims=True)
    expected = {"edits_applied": sum(map(len, rows)), "tokens_in_scope": sum(map(len, rows)), "experts_removed": 1,
                "topk_changed_share": float(((before > 0) != (after > 0)).any(1).mean()),
                "gate_mass_moved": float(np.abs(unit(before) - unit(after)).sum(1).mean() / 2)}
    check("only the edited layer is listed", list(receipt["layers"]) == ["0"] and receipt["no_effect"] is False)
    for key, value in expected.items():
        check(f"receipt: {key}", abs(receipt["layers"]["0"][key] - value) < 1e-6, f"{receipt['layers']['0'][key]} {value}")
    import hashlib
    check("receipt: sha256", receipt["sha256"] in (hashlib.sha256(edit.read_bytes()).hexdigest(),
                                                   "sha256:" + hashlib.sha256(edit.read_bytes()).hexdigest()), receipt["sha256"])
    masked_trace = load_file(folder / "mask.trace.safetensors")
    check("the trace is of the edited run", masked not in masked_trace["layers.0.expert_ids"])
    check("raw logits stay raw", np.abs(masked_trace["layers.0.router_logits"] - trace["layers.0.router_logits"]).max() < 1e-5)

    # Replaying the edited routes without the edit gives the edited scores; replaying the base is a null patch.
    for name, expected_scores in (("mask", edited), ("base", base)):
        replay = intervention(folder / f"replay_{name}.json", {"op": "force_routes", "file": f"{name}.trace.safetensors"})
        found = lines(score(model, file, folder / "r.jsonl", "--intervention", replay, status=3 if name == "base" else 0,
                            says=["had no effect"] if name == "base" else []))
        check(f"replay of {name}", largest_gap(found, expected_scores) <= 1e-5, largest_gap(found, expected_scores))
    check("routes are replayed whatever the units", largest_gap(edited, lines(score(
        model, file, folder / "r.jsonl", "--intervention", folder / "replay_mask.json", "--unit-rows", "50"))) <= 1e-5)
    fewer = write_lines(folder / "fewer.jsonl", requests[1:])
    score(model, fewer, folder / "x.jsonl", "--intervention", folder / "replay_mask.json", status=1, says=["request"])
    check("nothing is written on refusal", not (folder / "x.jsonl").exists() and not list(folder.glob("*.part*")))

    # An expert that no token chose.
    few = write_lines(folder / "few.jsonl", [{"id": "a", "context_ids": [9], "continuation_ids": [8, 7]}])
    score(model, few, folder / "few.jsonl.out", "--trace", "routes")
    used = set(load_file(folder / "few.jsonl.out.trace.safetensors")["layers.1.expert_ids"].ravel().tolist())
    unused = next(e for e in range(E) if e not in used)
    never = intervention(folder / "never.json", {"op": "mask", "layers": [1], "experts": [unused], "mode": "zero"})
    score(model, few, folder / "never.jsonl", "--intervention", never, status=3, says=["never", "no effect"])
    check("no_effect", json.loads((folder / "never.receipt.json").read_text())["no_effect"] is True)
    check("files are written all the same", (folder / "never.jsonl").exists())
    score(model, few, folder / "never.jsonl", "--intervention", never, "--allow-no-effect", says=["no effect"])

    # A folder of interventions equals one by one; each has its trace.
    edits = folder / "edits"
    intervention(edits / "mask.json", {"op": "mask", "layers": [0], "experts": [masked], "mode": "refill"})
    intervention(edits / "late.json", {"op": "add_logit", "layers": [2], "experts": [1], "values": [-2.0], "affects": "selection_and_weight",
                                       "where": {"phase": "generated"}})
    intervention(edits / "wide.json", {"op": "top_p", "layers": [1], "p": 0.7})
    score(model, file, folder / "all", "--interventions", edits, "--trace", "routes")
    for more, says in (([], []), (["--no-resume"], []), (["--no-batch-edits"], []), (["--cache-mb", "0", "--scratch", folder], []),
                       (["--cache-mb", "0"], ["--cache-mb 0 is less than the", "--scratch DIR", "the least of use, for the highest edited layer alone, is 1"]),
                       (["--cache-mb", "0", "--scratch", folder / "none", "--unit-rows", "50"], ["none: no room for a scratch file"])):
        score(model, file, folder / "all2", "--interventions", edits, *more, says=says)
        check("resuming changes nothing", all(largest_gap(lines(folder / "all" / f"{n}.jsonl"), lines(folder / "all2" / f"{n}.jsonl")) <= 1e-5
                                              for n in ("base", "mask", "late", "wide")))
    check("one by one", largest_gap(lines(folder / "all/mask.jsonl"), edited) <= 1e-5)
    check("the folder's base", largest_gap(lines(folder / "all/base.jsonl"), base) <= 1e-5)
    wide = load_file(folder / "all/wide.trace.safetensors")
    ids, weights = wide["layers.1.expert_ids"], wide["layers.1.expert_weights"]
    check("top_p has room for all experts", ids.shape == (sum(map(len, rows)), E) and ((ids >= 0) == (weights > 0)).all())
    check("no receipt for the base", sorted(p.name for p in (folder / "all").iterdir()) == sorted(
        ["base.jsonl", "base.trace.safetensors"] + [f"{n}{end}" for n in ("mask", "late", "wide") for end in (
            ".jsonl", ".receipt.json", ".trace.safetensors")]))
    # In scope are the rows fed with continuation tokens, and they alone change at that layer.
    late = load_file(folder / "all/late.trace.safetensors")["layers.2.expert_weights"]
    differs = np.abs(late - trace["layers.2.expert_weights"]).max(1) > 1e-6
    generated = np.concatenate([np.arange(len(f)) >= len(r["context_ids"]) for r, f in zip(requests, rows)])
    check("phase generated", differs[generated].any() and not differs[~generated].any())


def test_text(folder, model, family):
    """The byte-level tokenizer of the random model: 256 bytes, no BOS of its own."""
    texts = [{"id": "a", "context": "The cat", "continuation": " sat", "spans": {"s": [[1, 4]]}},
             {"id": "b", "context": "The cat ", "continuation": "sat"}, {"id": "c", "context": "", "continuation": "The cat"},
             {"id": "d", "context": "é\u3000\n", "continuation": "ü"}]
    file = write_lines(folder / "text.jsonl", texts)
    run = score(model, file, folder / "text.out.jsonl")
    a, b, c, d = lines(run)
    check("white space moves", a["token_ids"] == b["token_ids"] and a["context_tokens"] == b["context_tokens"] == 7
          and abs(a["logprob_nats"] - b["logprob_nats"]) < 1e-5, f"{a} {b}")
    check("an empty context is the prefix token", c["num_tokens"] == 7 and c["context_tokens"] == 1, str(c))
    check("wide white space moves", d["context_tokens"] == 2 and d["num_tokens"] == 3 + 1 + 2, str(d))
    edit = intervention(folder / "span.json", {"op": "add_logit", "layers": "all", "experts": [0], "values": [3.0],
                                               "affects": "selection_and_weight", "where": {"spans": ["s"]}})
    score(model, file, folder / "span.jsonl", "--intervention", edit)
    layers = json.loads((folder / "span.receipt.json").read_text())["layers"]
    # " sat": the span holds s, a, t; t is never fed.
    check("rows of a span", [layers[str(l)]["tokens_in_scope"] for l in range(LAYERS)] == [2] * LAYERS, str(layers))
    empty = write_lines(folder / "empty_context.jsonl", [{"id": "e", "context_ids": [], "continuation_ids": [4, 4]}])
    score(model, empty, folder / "e.jsonl", status=1, says=["line 1", "--prefix-token"])
    score(model, empty, folder / "e.jsonl", "--prefix-token", "4")
    check("ids are not used up", lines(folder / "e.jsonl")[0]["num_tokens"] == 2)
    score(model, empty, folder / "e.jsonl", "--prefix-token", "99999", status=1, says=["vocabulary"])
    score(model, empty, folder / "e.jsonl", "--prefix-token", "-1", status=2, says=["prefix-token"])


def test_bad_input(folder, model, family):
    good = {"id": "a", "context_ids": [1], "continuation_ids": [2]}
    out = folder / "out"
    out.mkdir()
    cases = [("seven.jsonl", [good | {"id": str(i)} for i in range(6)], "{broken\n", ["seven.jsonl", "line 7"]),
             ("twice.jsonl", [good, good], "", ["line 2", "'a'"]),
             ("both.jsonl", [good | {"context": "x", "continuation": "y"}], "", ["line 1", "either"]),
             ("neither.jsonl", [{"id": "a"}], "", ["line 1", "either"]),
             ("noid.jsonl", [{"context_ids": [1], "continuation_ids": [2]}], "", ["line 1", "id"]),
             ("numberid.jsonl", [good | {"id": 3}], "", ["line 1", "id"]),
             ("nothing.jsonl", [], "", ["no requests"]),
             ("nocontinuation.jsonl", [good | {"continuation_ids": []}], "", ["line 1", "empty"]),
             ("negative.jsonl", [good | {"context_ids": [-1]}], "", ["line 1", "-1"]),
             ("fraction.jsonl", [good | {"context_ids": [1.5]}], "", ["line 1", "1.5"]),
             ("vocabulary.jsonl", [good, good | {"id": "b", "context_ids": [99999]}], "", ["line 2", "99999", "320"]),
             ("span.jsonl", [good | {"spans": {"s": [[0, 2]]}}], "", ["line 1", "'s'", "out of range"]),
             ("empty_span.jsonl", [good | {"spans": {"s": [[0, 0]]}}], "", ["line 1", "'s'", "[0,0] is empty"]),
             ("long.jsonl", [good | {"id": "long", "continuation_ids": [1] * 3000}], "", ["line 1", "'long'", "--max-length"])]
    for name, objects, rest, says in cases:
        path = write_lines(folder / name, objects)
        path.write_text(path.read_text() + rest)
        score(model, path, out / "s.jsonl", status=1, says=says)
    file = write_lines(folder / "good.jsonl", [good])
    score(model, folder / "absent.jsonl", out / "s.jsonl", status=1, says=["absent.jsonl"])
    score(folder / "no_model", file, out / "s.jsonl", status=1, says=["no_model"])
    score(model, file, folder / "nowhere/s.jsonl", status=1, says=["nowhere"])
    score(model, file, out, status=1, says=["is a folder"])
    if os.geteuid() != 0:
        locked = folder / "locked"
        locked.mkdir(mode=0o500)
        score(model, file, locked / "s.jsonl", status=1, says=["locked"])
    # An intervention that does not fit.
    other = {"model_type": "olmoe" if family == "mixtral" else "mixtral"}
    mask = {"op": "mask", "layers": [0], "experts": [1], "mode": "zero"}
    score(model, file, out / "s.jsonl", "--intervention", intervention(folder / "other.json", mask, model=other), status=1,
          says=["olmoe", "mixtral"])
    score(model, file, out / "s.jsonl", "--intervention", intervention(folder / "layer.json", mask, {**mask, "layers": [9]}), status=1,
          says=["edit 1", "9"])
    score(model, file, out / "s.jsonl", "--intervention", intervention(folder / "op.json", {"op": "mosk"}), status=1, says=["mosk"])
    empty = folder / "no_edits"
    empty.mkdir()
    score(model, file, out, "--interventions", empty, status=1, says=["no intervention file"])
    intervention(empty / "base.json", mask)
    score(model, file, out, "--interventions", empty, status=1, says=["reserved"])
    # Usage.
    for wrong in (["--colour"], ["--trace", "all"], ["--unit-rows", "0"], ["--dtype", "f64"], ["--threads", "-1"],
                  ["--intervention", "a.json", "--interventions", "b"]):
        score(model, file, out / "s.jsonl", *wrong, status=2)
    fare("score", "--model", model, status=2, says=["--requests"])
    fare("score", "--model", model, "--requests", file, "--trace", "routes", status=2, says=["--out"])
    fare("score", "--help", says=["Examples:", "--config", "--limit", "--seed", "=2048", "=4096", "=auto"])
    score(model, write_lines(folder / "three.jsonl", [good | {"id": str(i)} for i in range(3)]), folder / "two.jsonl", "--limit", "2")
    check("--limit: the first requests", [line["id"] for line in lines(folder / "two.jsonl")] == ["0", "1"])
    # Too large a trace, with its size, before anything runs.
    many = write_lines(folder / "many.jsonl", [{"id": str(i), "context_ids": [i % 250] * 40, "continuation_ids": [1]} for i in range(250)])
    size = 250 * 40 * (LAYERS * (E + 2 * K) + 1) * 4 + 251 * 8
    score(model, many, out / "s.jsonl", "--trace", "routes", "--trace-limit-mb", "1", status=1,
          says=["--trace-limit-mb", f"{size / 1e6:.1f}"])
    check("no half-written output", list(out.iterdir()) == [], str(list(out.iterdir())))


def test_interrupt(folder, model, family):
    out = folder / "out"
    out.mkdir()
    file = write_lines(folder / "many.jsonl", id_requests(4000, seed=4, longest=200))
    run = subprocess.Popen([FARE, "score", "--model", model, "--requests", file, "--out", out / "s.jsonl", "--trace", "routes",
                            "--unit-rows", "100", "--threads", "1", "--matmul", "onednn"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any("trace" in p.name for p in out.iterdir()) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)  # the trace's temporary file is opened when the model is open
    time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    text = run.communicate(timeout=60)[1]
    check("Ctrl-C ends with 130", run.returncode == 130, f"{run.returncode} {text}")
    check("Ctrl-C leaves nothing half-written", list(out.iterdir()) == [], str(list(out.iterdir())))


def main():
    parts = [v for k, v in globals().items() if k.startswith("test_") and (len(sys.argv) == 1 or k[5:] in sys.argv[1:])]
    with tempfile.TemporaryDirectory() as temporary:
        for family in ("olmoe", "mixtral"):
            model = Path(temporary) / family
            fare("lab", "make", "random", "--family", family, "--out", model, *SHAPE)
            for part in parts:
                if family == "mixtral" and part in (test_bad_input, test_interrupt, test_text):
                    continue
                folder = Path(temporary) / f"{family}_{part.__name__}"
                folder.mkdir()
                print(f"{part.__name__} {family}", flush=True)
                part(folder, model, family)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
