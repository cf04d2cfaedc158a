"""`fare generate` against transformers and against a plain Python account of its random numbers.

  FARE=build/fare .venv/bin/python tests/generate_test.py

Tiny random OLMoE and Mixtral checkpoints. Greedy texts equal transformers' generate; sampled texts equal a reimplementation
here (Philox4x32-10, temperature, top-p, Gumbel-max) fed with transformers' logits; interventions share the noise. Ends with
status 77 when transformers is not there.
"""

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
try:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
except ImportError as missing:
    print(f"SKIPPED: {missing}; make setup installs the test requirements")
    sys.exit(77)

FARE = os.environ.get("FARE", "build/fare")
torch.set_num_threads(2)
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


def generate(model, prompts, out, *more, status=0, says=()):
    fare("generate", "--model", model, "--prompts", prompts, "--out", out, "--matmul", "onednn", "--threads", "2", "--quiet", *more,
         status=status, says=says)
    return [json.loads(line) for line in out.read_text().splitlines()] if status in (0, 3) else None


def write_lines(path, objects):
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    return path


def philox(seed, label, replicate, substream, block):
    """Four 32-bit numbers of one block, after the published description of Philox4x32-10."""
    fnv = 0x811C9DC5
    for byte in label.encode():
        fnv = (fnv ^ byte) * 0x01000193 & 0xFFFFFFFF
    c, k0, k1 = [block, replicate, substream, fnv], seed & 0xFFFFFFFF, seed >> 32
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k0, b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k1, a & 0xFFFFFFFF]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def uniform(seed, label, replicate, substream, draw):
    words = philox(seed, label, replicate, substream, draw // 2)
    low, high = words[2 * (draw % 2)], words[2 * (draw % 2) + 1]
    return ((high << 32 | low) >> 11) * 2.0 ** -53


def sampled_by_hand(net, prompt_id, ids, sample, steps, seed, temperature, top_p, eos):
    """Tokens, and how near the runner-up came at the nearest step."""
    tokens, nearest = [], math.inf
    for step in range(steps):
        with torch.no_grad():
            logits = net(torch.tensor([ids + tokens])).logits[0, -1].double()
        log_p = (logits / temperature).log_softmax(-1).tolist()
        kept, mass = [], 0.0
        for i in sorted(range(len(log_p)), key=lambda i: -log_p[i]):
            if kept and mass >= top_p:
                break
            kept.append(i)
            mass += math.exp(log_p[i])
        value = lambda i: log_p[i] - math.log(-math.log(uniform(seed, "generate/" + prompt_id, sample, step, i)))
        ranked = sorted(kept, key=value, reverse=True)
        if len(ranked) > 1:
            nearest = min(nearest, value(ranked[0]) - value(ranked[1]))
        tokens.append(ranked[0])
        if ranked[0] in eos:
            break
    return tokens, nearest


class ReplacedExperts(torch.nn.Module):
    """A layer's experts, some of whose outputs give way to their mean on calibration rows or to one of those rows' outputs."""

    def __init__(self, experts, layer, masked, mode):
        super().__init__()
        self.experts, self.layer, self.masked, self.mode, self.rows, self.outputs = experts, layer, masked, mode, [], None

    def stop_collecting(self):
        x = torch.cat(self.rows)
        one = torch.ones(len(x), 1)
        self.outputs = {e: self.experts(x, torch.full((len(x), 1), e), one) for e in self.masked}

    def stand_in(self, expert, position):
        outputs = self.outputs[expert]
        if self.mode == "mean":
            return outputs.mean(0)
        words = philox(0, "masking/resample", self.layer, expert, position // 2)
        draw = words[2 * (position % 2) + 1] << 32 | words[2 * (position % 2)]
        return outputs[draw * len(outputs) >> 64]

    def forward(self, x, ids, weights):
        if self.outputs is None:
            self.rows.append(x)
            return self.experts(x, ids, weights)
        kept = weights.clone()
        for e in self.masked:
            kept[ids == e] = 0
        out = self.experts(x, ids, kept)
        for t, k in zip(*torch.where(torch.isin(ids, torch.tensor(self.masked))), strict=True):
            out[t] += weights[t, k] * self.stand_in(int(ids[t, k]), int(t))
        return out


def log_probabilities_replaced(net, texts, calibration, masks):
    """Of every next token of each text, [length - 1, V]. masks: layer -> (experts, mode)."""
    layers = {l: net.model.layers[l].mlp for l in masks}
    for l, mlp in layers.items():
        mlp.experts = ReplacedExperts(mlp.experts, l, *masks[l])
    with torch.no_grad():
        for ids in calibration:
            net(torch.tensor([ids]))
        for mlp in layers.values():
            mlp.experts.stop_collecting()
        found = [net(torch.tensor([ids])).logits[0, :-1].log_softmax(-1) for ids in texts]
    for mlp in layers.values():
        mlp.experts = mlp.experts.experts
    return found


def texts_of(results):
    return {(r["id"], r["sample"]): r for r in results}


def test_family(folder, family):
    model = folder / "model"
    fare("lab", "make", "random", "--family", family, "--out", model, "--hidden", "64", "--layers", "3", "--experts", "8", "--top-k", "2",
         "--expert-width", "48", "--seed", "7", "--max-length", "128")
    config = json.loads((model / "config.json").read_text())
    net = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    # Prompts that begin alike, one the beginning of another, two the same.
    shared = [11, 22, 33, 44, 55]
    ids = {"a": shared, "b": shared + [66, 77], "c": shared + [66, 88, 99], "d": [3], "e": shared, "f": list(range(100, 140))}
    prompts = write_lines(folder / "prompts.jsonl", [{"id": i, "prompt_ids": p} for i, p in ids.items()])
    steps = 24

    def hf(prompt, eos=None, steps=steps):
        with torch.no_grad():
            whole = net.generate(torch.tensor([prompt]), max_new_tokens=steps, do_sample=False, eos_token_id=eos, pad_token_id=0)
        return whole[0, len(prompt):].tolist()

    def near_tie(prompt, tokens):
        """Smallest gap between the two largest logits on the way: below it greedy paths may part."""
        with torch.no_grad():
            top = net(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1:-1].topk(2).values
        return float((top[:, 0] - top[:, 1]).min())

    eos = config.get("eos_token_id")
    eos = [] if eos is None else eos if isinstance(eos, list) else [eos]
    greedy = generate(model, prompts, folder / "greedy.jsonl", "--max-new-tokens", steps)
    check("order and fields", [(r["id"], r["sample"]) for r in greedy] == [(i, 0) for i in ids] and list(greedy[0])[:6] == [
        "id", "sample", "text", "token_ids", "token_logprobs_nats", "finish"])
    for r in greedy:
        expected = hf(ids[r["id"]], eos or None)
        check(f"greedy {r['id']}", r["token_ids"] == expected or near_tie(ids[r["id"]], expected) < 1e-4, f"{r['token_ids']} {expected}")
    check("length", all(r["finish"] == "length" and len(r["token_ids"]) == steps for r in greedy if not set(eos) & set(r["token_ids"])))

    # Keys and values from the cache give what one full forward gives: fare score of the same tokens.
    requests = write_lines(folder / "requests.jsonl", [{"id": r["id"], "context_ids": ids[r["id"]], "continuation_ids": r["token_ids"]}
                                                       for r in greedy])
    common = ["--matmul", "onednn", "--threads", "2", "--quiet"]
    edit = folder / "edit.json"
    edit.write_text(json.dumps({"format": "fare-intervention/1", "name": "push", "edits": [
        {"op": "add_logit", "layers": [1], "experts": [2], "values": [4.0], "affects": "selection_and_weight", "where": {"phase": "generated"}},
        {"op": "scale_weight", "layers": [2], "experts": [0, 1], "factor": 0.2, "where": {"positions": [[0, 7]]}}]}))
    neutral = ["The cat sat on the mat.", "Rain fell all day, and then it stopped.", "Nine of ten."]
    write_lines(folder / "neutral.jsonl", [{"text": text} for text in neutral])
    masks = {1: ([0, 2, 5], "mean"), 2: ([1, 6], "resample")}
    replaced = folder / "replaced.json"
    replaced.write_text(json.dumps({"format": "fare-intervention/1", "name": "replaced", "edits": [
        {"op": "mask", "layers": [l], "experts": experts, "mode": mode, "calibration": "neutral.jsonl"} for l, (experts, mode) in masks.items()]}))
    for name, more in (("base", []), ("edited", ["--intervention", edit]), ("replaced", ["--intervention", replaced])):
        texts = generate(model, prompts, folder / "t.jsonl", "--max-new-tokens", steps, *more)
        write_lines(requests, [{"id": r["id"], "context_ids": ids[r["id"]], "continuation_ids": r["token_ids"]} for r in texts])
        fare("score", "--model", model, "--requests", requests, "--out", folder / "s.jsonl", *common, *more)
        scores = {s["id"]: s for s in map(json.loads, (folder / "s.jsonl").read_text().splitlines())}
        for r in texts:
            gap = max(abs(x - y) for x, y in zip(r["token_logprobs_nats"], scores[r["id"]]["token_logprobs_nats"], strict=True))
            check(f"incremental equals full: {name} {r['id']}", gap < 1e-5 and scores[r["id"]]["is_greedy"], gap)
        if name == "replaced":
            tokenizer = AutoTokenizer.from_pretrained(model)
            prefix = config["eos_token_id"] if config.get("bos_token_id") is None else config["bos_token_id"]
            calibration = [([prefix] + tokenizer(text, add_special_tokens=False).input_ids)[:-1] for text in neutral]
            by_hand = log_probabilities_replaced(net, [ids[r["id"]] + r["token_ids"] for r in texts], calibration, masks)
            for r, log_p in zip(texts, by_hand, strict=True):
                first = len(ids[r["id"]]) - 1
                gap = max(abs(x - float(log_p[first + i, token]))
                          for i, (token, x) in enumerate(zip(r["token_ids"], scores[r["id"]]["token_logprobs_nats"], strict=True)))
                check(f"replaced outputs as by hand {r['id']}", gap < 1e-5, gap)
        if more:
            check("the edit changed texts", [r["token_ids"] for r in texts] != [r["token_ids"] for r in greedy])
            receipts = [json.loads((folder / f"{n}.receipt.json").read_text()) for n in ("t", "s")]
            check("the receipt is that of scoring", receipts[0]["tokens"] == receipts[1]["tokens"] and all(
                abs(receipts[0]["layers"][l][k] - receipts[1]["layers"][l][k]) < 1e-6 for l in ("1", "2") for k in (
                    "edits_applied", "tokens_in_scope", "topk_changed_share", "gate_mass_moved")), str(receipts))

    # Sampled: by hand, and the same whatever the company.
    sampling = ["--max-new-tokens", 6, "--samples", 2, "--temperature", 0.7, "--top-p", 0.9, "--seed", 2 ** 40 + 5]
    sampled = generate(model, prompts, folder / "sampled.jsonl", *sampling)
    check("samples in order", [(r["id"], r["sample"]) for r in sampled] == [(i, s) for i in ids for s in range(2)])
    for r in sampled:
        expected, nearest = sampled_by_hand(net, r["id"], ids[r["id"]], r["sample"], 6, 2 ** 40 + 5, 0.7, 0.9, eos)
        check(f"sampled {r['id']} {r['sample']}", r["token_ids"] == expected or nearest < 1e-4, f"{r['token_ids']} {expected} {nearest}")
    check("prompts with equal tokens differ by id", texts_of(sampled)["a", 0]["token_ids"] != texts_of(sampled)["e", 0]["token_ids"])
    one = write_lines(folder / "one.jsonl", [{"id": "c", "prompt_ids": ids["c"]}])
    check("independent of company", [r["token_ids"] for r in generate(model, one, folder / "o.jsonl", *sampling)] == [
        r["token_ids"] for r in sampled if r["id"] == "c"])
    check("independent of units", [r["token_ids"] for r in generate(model, prompts, folder / "o.jsonl", *sampling, "--unit-rows", 1)] == [
        r["token_ids"] for r in sampled])
    generate(model, prompts, folder / "again.jsonl", *sampling)
    check("bit-equal again", (folder / "again.jsonl").read_bytes() == (folder / "sampled.jsonl").read_bytes())

    # Without effect nothing changes; with one the noise is still shared.
    off = folder / "off.json"
    for where in ({}, {"where": {"phase": "generated"}}, {"where": {"requests": ["a"]}}):
        off.write_text(json.dumps({"format": "fare-intervention/1", "name": "off", "edits": [
            {"op": "scale_weight", "layers": "all", "experts": [0], "factor": 1.0, **where}]}))
        generate(model, prompts, folder / "off.jsonl", *sampling, "--intervention", off, status=3, says=["no effect"])
        check(f"off means off {where}", (folder / "off.jsonl").read_bytes() == (folder / "sampled.jsonl").read_bytes())
    receipt = json.loads((folder / "off.receipt.json").read_text())
    rows = sum(len(ids["a"]) + len(r["token_ids"]) - 1 for r in sampled if r["id"] == "a")
    check("rows in scope of one prompt", receipt["layers"]["0"]["tokens_in_scope"] == rows, f"{receipt} {rows}")
    check("tokens", receipt["tokens"] == sum(len(ids[r["id"]]) + len(r["token_ids"]) - 1 for r in sampled), str(receipt))
    generate(model, prompts, folder / "off.jsonl", *sampling, "--intervention", off, "--allow-no-effect")

    # End tokens: of generation_config.json, else of config.json; an integer or a list.
    end, other = greedy[0]["token_ids"][3], greedy[1]["token_ids"][5]
    for file, value in (("config.json", end), ("generation_config.json", [end, other])):
        path = model / file
        before = path.read_text() if path.exists() else None
        path.write_text(json.dumps({**(config if file == "config.json" else {}), "eos_token_id": value}))
        for r in generate(model, prompts, folder / "eos.jsonl", "--max-new-tokens", steps):
            expected = hf(ids[r["id"]], value)
            check(f"eos of {file} {r['id']}", r["token_ids"] == expected or near_tie(ids[r["id"]], expected) < 1e-4, f"{r} {expected}")
            check("finish", (r["finish"] == "eos") == (r["token_ids"][-1] in (value if isinstance(value, list) else [value])), str(r))
        path.write_text(before) if before is not None else path.unlink()

    # Texts that end early make room for others; each is written, and counted, as it is alone.
    push = folder / "push.json"
    push.write_text(json.dumps({"format": "fare-intervention/1", "name": "push", "edits": [
        {"op": "add_logit", "layers": [1], "experts": [2], "values": [4.0], "affects": "selection_and_weight"}]}))
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(40))}))
    for more in ([], ["--intervention", push]):
        crowd = ["--max-new-tokens", steps, "--samples", 3, "--temperature", 0.8, "--seed", 4, *more]
        whole = generate(model, prompts, folder / "w.jsonl", *crowd)
        check("texts end at many lengths", len({len(r["token_ids"]) for r in whole}) > 4, str([len(r["token_ids"]) for r in whole]))
        for rows in (200, 330, 1):
            part = generate(model, prompts, folder / "p.jsonl", *crowd, "--unit-rows", rows)
            check(f"a crowd in {rows} rows", [(r["id"], r["token_ids"], r["finish"]) for r in part] == [
                (r["id"], r["token_ids"], r["finish"]) for r in whole])
            receipts = [json.loads((folder / f"{n}.receipt.json").read_text()) for n in "wp"]
            check(f"its receipt in {rows} rows", receipts[0]["tokens"] == receipts[1]["tokens"] and all(
                abs(v - receipts[1]["layers"]["1"][k]) < 1e-6 for k, v in receipts[0].get("layers", {}).get("1", {}).items()
                if isinstance(v, (int, float))), str(receipts))
    (model / "generation_config.json").unlink()

    # Text prompts, and texts that end one.
    texts = write_lines(folder / "texts.jsonl", [{"id": "t", "prompt": "The cat", "cluster": "c"}, {"id": "u", "prompt": "Über "}])
    tokenizer = AutoTokenizer.from_pretrained(model)
    as_ids = write_lines(folder / "ids.jsonl", [{"id": i, "prompt_ids": tokenizer(t).input_ids} for i, t in (("t", "The cat"), ("u", "Über "))])
    found = generate(model, texts, folder / "tt.jsonl", "--max-new-tokens", 40)
    same = generate(model, as_ids, folder / "tb.jsonl", "--max-new-tokens", 40)
    check("text prompts", [r["token_ids"] for r in found] == [r["token_ids"] for r in same])
    for r in found:
        check("decoded", r["text"] == tokenizer.decode(r["token_ids"], skip_special_tokens=True), repr(r["text"]))
    whole = found[0]["text"]
    stop = next((whole[i:i + 1] for i in range(3, len(whole)) if whole[i].isascii() and whole[i].isprintable() and whole[i] not in whole[:3]), None)
    if stop is None:
        check("a text with an ASCII character to stop at", False, repr(whole))
    else:
        stopped = generate(model, texts, folder / "stop.jsonl", "--max-new-tokens", 40, "--stop", "no such text", stop)[0]
        check("stop", stopped["finish"] == "stop" and stopped["text"] == whole[:whole.index(stop)]
              and stopped["token_ids"] == found[0]["token_ids"][:len(stopped["token_ids"])]
              and len(stopped["token_ids"]) < 40, str(stopped))

    # Truncation: the last L - new tokens of the prompt are kept.
    long = write_lines(folder / "long.jsonl", [{"id": "f", "prompt_ids": ids["f"]}])
    cut = generate(model, long, folder / "cut.jsonl", "--max-new-tokens", 8, "--max-length", 20)[0]
    expected = hf(ids["f"][-12:], eos or None, 8)
    check("truncation", cut["truncated_tokens"] == 28 and cut["prompt_tokens"] == 12 and (
        cut["token_ids"] == expected or near_tie(ids["f"][-12:], expected) < 1e-4), f"{cut} {expected}")
    return model, prompts


def test_chat(folder, model):
    """Conversations become the ids that transformers' apply_chat_template gives."""
    template = (Path(__file__).parent / "chat_templates/chatml_like.jinja").read_text()
    chats = [{"id": "a", "messages": [{"role": "user", "content": "Who are you?"}]},
             {"id": "b", "messages": [{"role": "system", "content": "Brief."}, {"role": "user", "content": "7 × 6?"}]}]
    lines = write_lines(folder / "chats.jsonl", chats)
    generate(model, lines, folder / "c.jsonl", "--chat", status=2, says=["no chat template", "--chat-template"])
    generate(model, lines, folder / "c.jsonl", status=2, says=["line 1", "--chat"])
    (model / "chat_template.jinja").write_text(template)
    tokenizer = AutoTokenizer.from_pretrained(model)
    ids = {c["id"]: tokenizer(tokenizer.apply_chat_template(c["messages"], tokenize=False, add_generation_prompt=True),
                              add_special_tokens=False).input_ids for c in chats}
    as_ids = write_lines(folder / "chat_ids.jsonl", [{"id": i, "prompt_ids": p} for i, p in ids.items()])
    expected = generate(model, as_ids, folder / "ci.jsonl", "--max-new-tokens", 6)
    found = generate(model, lines, folder / "c.jsonl", "--max-new-tokens", 6, "--chat")
    check("chats are the reference's ids", found == expected and [r["prompt_tokens"] for r in found] == [len(p) for p in ids.values()])
    (folder / "own.jinja").write_text(template + "!")
    other = generate(model, lines, folder / "c.jsonl", "--max-new-tokens", 6, "--chat-template", folder / "own.jinja")
    check("a template of one's own", [r["prompt_tokens"] for r in other] == [len(p) + 1 for p in ids.values()])
    generate(model, as_ids, folder / "c.jsonl", "--chat", status=2, says=["no conversation"])
    for name, line, says in (("none", {"id": "a", "messages": []}, ["line 1", "messages"]),
                             ("two", {"id": "a", "messages": chats[0]["messages"], "prompt": "x"}, ["line 1", "either"]),
                             ("role", {"id": "a", "messages": [{"content": "x"}]}, ["line 1", "role"])):
        generate(model, write_lines(folder / f"chat-{name}.jsonl", [line]), folder / "c.jsonl", "--chat", status=1, says=says)
    (model / "chat_template.jinja").write_text("{{ raise_exception('no such talk') }}")
    generate(model, lines, folder / "c.jsonl", "--chat", status=1, says=["chats.jsonl", "line 1", "no such talk"])
    (model / "chat_template.jinja").unlink()


def test_bad_input(folder, model, prompts):
    out = folder / "bad"
    out.mkdir()
    for name, objects, says in (("twice", [{"id": "a", "prompt_ids": [1]}] * 2, ["line 2", "'a'"]),
                                ("both", [{"id": "a", "prompt_ids": [1], "prompt": "x"}], ["line 1", "either"]),
                                ("neither", [{"id": "a"}], ["line 1", "either"]),
                                ("noid", [{"prompt": "x"}], ["line 1", "id"]),
                                ("none", [], ["no prompts"]),
                                ("empty", [{"id": "a", "prompt_ids": []}], ["line 1", "--prefix-token"]),
                                ("outside", [{"id": "a", "prompt_ids": [99999]}], ["line 1", "99999"]),
                                ("negative", [{"id": "a", "prompt_ids": [-1]}], ["line 1", "-1"])):
        generate(model, write_lines(folder / f"{name}.jsonl", objects), out / "o.jsonl", status=1, says=says)
    for wrong in (["--max-new-tokens", 0], ["--samples", 0], ["--temperature", -1], ["--top-p", 0], ["--top-p", 1.5], ["--stop", ""],
                  ["--max-length", 10, "--max-new-tokens", 10], ["--colour"]):
        generate(model, prompts, out / "o.jsonl", *wrong, status=2)
    generate(model, prompts, out / "o.jsonl", "--max-new-tokens", 5000, status=1, says=["--max-new-tokens", "128"])
    generate(model, folder / "absent.jsonl", out / "o.jsonl", status=1, says=["absent.jsonl"])
    generate(model, prompts, folder / "nowhere/o.jsonl", status=1, says=["nowhere"])
    fare("generate", "--help", says=["Examples:"])
    check("nothing half-written", not list(out.iterdir()), str(list(out.iterdir())))
    many = write_lines(folder / "many.jsonl", [{"id": str(i), "prompt_ids": [i % 256, 5]} for i in range(3000)])
    run = subprocess.Popen([FARE, "generate", "--model", model, "--prompts", many, "--out", out / "o.jsonl", "--max-new-tokens", "100",
                            "--threads", "1", "--matmul", "onednn"], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(out.iterdir()) and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    run.send_signal(signal.SIGINT)
    text = run.communicate(timeout=60)[1]
    check("Ctrl-C", run.returncode == 130 and not list(out.iterdir()), f"{run.returncode} {text}")


def main():
    with tempfile.TemporaryDirectory() as temporary:
        for family in ("olmoe", "mixtral"):
            print(family, flush=True)
            folder = Path(temporary) / family
            folder.mkdir()
            model, prompts = test_family(folder, family)
        test_chat(folder, model)
        test_bad_input(folder, model, prompts)
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
