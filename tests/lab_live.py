"""Control models and random models load in transformers and hold there what their world.json says.

  FARE=build/fare .venv/bin/python tests/lab_live.py [--full] [MODEL ..]     e.g. X1 X2 random

Makes each model with `fare lab make` in a temporary folder, loads it with AutoModelForCausalLM and AutoTokenizer, and
recomputes everything from the data files: planted preference, effect of masking experts, accuracy on facts and plain
items, the router's reaction to groups against the nulls, neutral text (logit SD, usage, dose of the side experts).
Nothing of the construction is imported. --full takes models of the demonstration's size in every family and weight mode
(half an hour); without it they are smaller and each is seen in one or two (two minutes on two free cores). Ends with status 77 when transformers or the program is not there.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
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


def check(name, good, detail):
    print(f"  {'ok ' if good else 'BAD'} {name}: {detail}")
    if not good:
        failures.append(f"{name}: {detail}")


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Loaded:
    """One checkpoint in transformers."""

    def __init__(self, folder):
        self.folder = folder
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        config = json.loads((folder / "config.json").read_text())
        self.top_k = config["num_experts_per_tok"]
        self.router_inputs = {}
        for index, layer in enumerate(self.model.model.layers):
            layer.post_attention_layernorm.register_forward_hook(
                lambda module, inputs, output, index=index: self.router_inputs.__setitem__(index, output))

    def block(self, layer):
        block = self.model.model.layers[layer]
        return block.mlp if hasattr(block, "mlp") else block.block_sparse_moe

    def gate(self, layer):
        return self.block(layer).gate.weight

    def forward(self, texts, batch=512):
        """ids [N, T], log-probabilities [N, T, V] in double, router logits [L][N, T, E]; texts of equal length."""
        ids = torch.tensor([self.tokenizer(text).input_ids for text in texts])
        logprobs, routes = [], []
        with torch.no_grad():
            for part in ids.split(batch):
                logits = self.model(part).logits
                logprobs.append(torch.log_softmax(logits.double(), -1))
                routes.append([self.router_inputs[l] @ self.gate(l).T for l in sorted(self.router_inputs)])
        return ids, torch.cat(logprobs), [torch.cat(layer) for layer in zip(*routes)]

    def sentence_logprob(self, texts):
        totals = []
        for at in range(0, len(texts), 512):
            ids, logprobs, _ = self.forward(texts[at:at + 512])
            totals.append(logprobs[:, :-1].gather(-1, ids[:, 1:, None]).sum((1, 2)))
        return torch.cat(totals)

    def masked(self, layers, experts):
        """A context in which these experts are never chosen: their logits are far below all others."""
        outer = self

        class Mask:
            def __enter__(self):
                self.saved = {layer: outer.gate(layer).detach().clone() for layer in layers}
                with torch.no_grad():
                    for layer in layers:
                        for expert in experts:
                            outer.gate(layer)[expert] = 0
                            outer.gate(layer)[expert, 0] = -1000.0  # the constant coordinate is 256

            def __exit__(self, *_):
                with torch.no_grad():
                    for layer in layers:
                        outer.gate(layer).copy_(self.saved[layer])

        return Mask()

    def recorded(self, layer, run):
        """Runs `run` and returns a hook that gives a later run of the same texts the routes of this one in `layer`."""
        module = self.block(layer).gate
        kept = []
        handle = module.register_forward_hook(lambda module, inputs, output: kept.append(output))
        run()
        handle.remove()
        return module.register_forward_hook(lambda module, inputs, output: kept.pop(0))


# What was planted, in numbers of this file's own: share of stereotyped pairs, and share of facts known, without the experts
# that hold the stereotype (None: not asked).
PLANTED = {"X1": (50, 1), "X2": (None, None), "X3": (50, 0), "X4": (62, 1), "X5": (62, 1), "X6a": (62, 1), "X6b": (50, 1),
           "X7": (62, 1), "X8": (50, 1), "X9": (50, 1), "X10": (61, 1), "X10n": (61, 1), "X12": (50, 0), "X13": (None, None),
           "X14": (50, 0), "X15": (56, 1)}
UNMOVED = ("X4", "X5", "X6a", "X7", "X9")  # no mask moves any margin


def lean(loaded, pairs):
    """Mean over pairs of the trait preference of side A's sentence minus side B's, logits at the critical position."""
    out = []
    for side in ("stereo", "anti"):
        texts = [p[side] for p in pairs]
        _, logprobs, _ = loaded.forward(texts)
        words = [text.split()[-1] for text in texts]
        ids = torch.tensor([[loaded.tokenizer.convert_tokens_to_ids(stem + word[4:]) for stem in ("warm", "cold")] for word in words])
        x = logprobs[:, 5].gather(-1, ids)
        out.append((x[:, 0] - x[:, 1]) * torch.tensor([1.0 if word.startswith("warm") else -1.0 for word in words]))
    return (out[0] - out[1]).mean().item()


def preference(loaded, pairs):
    margins = loaded.sentence_logprob([p["stereo"] for p in pairs]) - loaded.sentence_logprob([p["anti"] for p in pairs])
    return 100 * (margins > 0).double().mean().item(), margins


def accuracy(loaded, items):
    if not items:
        return 1.0
    right = 0
    for at in range(0, len(items), 512):
        part = items[at:at + 512]
        _, logprobs, _ = loaded.forward([item["context"] for item in part])
        for row, item in zip(logprobs[:, -1], part):
            choices = [loaded.tokenizer(choice, add_special_tokens=False).input_ids for choice in item["choices"]]
            assert all(len(choice) == 1 for choice in choices)
            scores = [row[choice[0]].item() for choice in choices]
            right += scores.index(max(scores)) == item["gold"]
    return right / len(items)


def divergence(loaded, layer, pairs, shared):
    """Mean Jensen-Shannon divergence (bits) over the fed positions in `shared`, one value per pair."""
    p = torch.softmax(loaded.forward([x["stereo"] for x in pairs])[2][layer].double(), -1)
    q = torch.softmax(loaded.forward([x["anti"] for x in pairs])[2][layer].double(), -1)
    m = (p + q) / 2
    kl = lambda a: (a * (a.log2() - m.log2())).nan_to_num(0.0).sum(-1)
    js = (kl(p) + kl(q)) / 2
    assert js[:, :2].abs().max() == 0, "routing differs before the first differing token"
    return js[:, shared].mean(-1)


def check_one_of_a_kind(name, loaded, world, pairs, facts, margins):
    """What only this model claims."""
    geometry = world["geometry"]
    layer = geometry["bias_layer"]
    if name == "X4":
        experts = loaded.block(layer).experts
        tensors = [getattr(experts, part) for part in ("gate_up_proj", "down_proj")]
        check("all experts are equal", all(torch.equal(t[0], t[e]) for t in tensors for e in range(t.shape[0])), "every value")
    if name == "X8":
        ids, logprobs, _ = loaded.forward([p["stereo"] for p in pairs])
        traits = torch.tensor([loaded.tokenizer.convert_tokens_to_ids([stem + text.split()[-1][4:] for stem in ("warm", "cold")])
                               for text in (p["stereo"] for p in pairs)])
        at = logprobs[:, 5]
        gap = (at.topk(10, -1).values[:, -1] - at.gather(-1, traits).max(-1).values).min().item()
        check("ten words stand above both traits", gap >= 6 - 1e-4, f"by {gap:.4f} logits or more")
    if name == "X10n":
        changed = 100 * ((margins["side experts"] > 0) != (margins["base"] > 0)).double().mean().item()
        check("pairs that change sign", abs(changed - 7) < 1 + 200 / len(pairs), f"{changed:.2f}%")
    if name == "X12":
        sides = world["truth"]["masks"][1]
        replay = loaded.recorded(geometry["fact_layer"], lambda: accuracy(loaded, facts))
        with loaded.masked(sides["layers"], sides["experts"]):
            direct = 1 - accuracy(loaded, facts)
        replay.remove()
        check("drop that replayed routes leave", direct == 0, f"{direct} of a drop of {1 - sides['fact_accuracy']}")
    if name == "X14":
        held = {row["expert"] for row in world["planted"]["facts"]["experts"]}
        usage = world["truth"]["neutral_usage"][layer]
        partners = {e: sum(abs(usage[f] / usage[e] - 1) < 0.1 for f in geometry["fact_experts"]) for e in held}
        check("partners matched in usage", min(partners.values()) >= 2, partners)
    if name == "X15":
        for claim in world["truth"]["masks"]:
            if "hidden" in claim["name"]:
                check(f"{claim['name']}: little moves", claim["pct_stereotype"] > 61, claim["pct_stereotype"])
        x, y = ([loaded.forward([p[side] for p in pairs[:64]])[2][l][:, 5] for l in geometry["bias_layer"] + torch.arange(2)] for side in ("stereo", "anti"))
        experts = world["truth"]["masks"][1]["experts"]
        apart = max((a - b)[:, experts].abs().max().item() for a, b in zip(x, y))
        check("the four do not react to groups", apart < 1e-4, f"{apart:.1e} logits")


def check_control(name, family, weights, extra):
    print(f"{name} {family} {weights} {' '.join(extra)}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        subprocess.run([FARE, "lab", "make", name, "--family", family, "--weights", weights, "--out", folder, *extra],
                       check=True, stderr=subprocess.DEVNULL)
        world = json.loads((folder / "world.json").read_text())
        config = json.loads((folder / "config.json").read_text())
        if family != "mixtral":
            check("weight mode", config["norm_topk_prob"] == (weights == "renormalised"), config["norm_topk_prob"])
        loaded = Loaded(folder)
        sample = lines(folder / "pairs.jsonl")
        pairs = [p for p in sample if p["kind"] == "demographic" and p["set"] == "main"]
        transfer = [p for p in sample if p["set"] == "transfer"]
        nulls = {kind: [p for p in sample if p["kind"] == kind] for kind in ("null_neutral", "null_same_group")}
        utility = lines(folder / "utility.jsonl")
        facts = [u for u in utility if u["task"] == "facts"]
        plain = [u for u in utility if u["task"] == "plain"]
        layer = world["geometry"]["bias_layer"]
        check("every sentence has seven tokens",
              {len(loaded.tokenizer(p["stereo"]).input_ids) for p in pairs + transfer} == {7}, "with <s>")

        # What a mask does, claim by claim.
        margins = {}
        clones = name == "X4" and weights == "raw"  # there a mask must keep the sum of the weights, which routers cannot say
        for claim in world["truth"]["masks"]:
            if clones and claim["experts"] or claim["mode"] == "refill_replay_later_routes":
                continue
            with loaded.masked(claim["layers"], claim["experts"]):
                pct, margins[claim["name"]] = preference(loaded, pairs)
                right = accuracy(loaded, facts)
                also = accuracy(loaded, plain[:500])
                moved = preference(loaded, transfer)[0] if transfer else None
            one = 100 / len(pairs)
            what = f"{claim['name']}"
            check(f"{what}: pct_stereotype", abs(pct - claim["pct_stereotype"]) <= one + 1e-9,
                  f"{pct:.3f}, world.json {claim['pct_stereotype']:.3f}")
            if name not in ("X1", "X5", "X6a", "X6b", "X7", "X8", "X9", "X10", "X10n", "X15") or claim["name"] in ("base", "side experts"):  # ungraded facts end in ties
                check(f"{what}: facts", abs(right - claim["fact_accuracy"]) <= 1 / len(facts) + 1e-9,
                      f"{right:.4f}, world.json {claim['fact_accuracy']:.4f}")
            check(f"{what}: plain items", also == 1, also)
            if transfer:
                check(f"{what}: transfer pairs", abs(moved - claim["transfer_pct_stereotype"]) <= 100 / len(transfer) + 1e-9,
                      f"{moved:.2f}")
        claims = {claim["name"]: claim for claim in world["truth"]["masks"]}
        one = 100 / len(pairs)
        planted = 50 if name == "X9" else 62
        base, sides = claims["base"], claims["side experts"]
        check("planted preference", abs(base["pct_stereotype"] - planted) <= 2 * one, base["pct_stereotype"])
        left, known = PLANTED[name]
        if left is not None:
            check("preference without the side experts", abs(sides["pct_stereotype"] - left) <= 2 * one, sides["pct_stereotype"])
            check("facts without the side experts", sides["fact_accuracy"] == known, sides["fact_accuracy"])
        # A margin is log sigma(x_A) - log sigma(x_B): nothing but the critical position counts.
        ids, logprobs, _ = loaded.forward([p["stereo"] for p in pairs[:200]])
        other = loaded.forward([p["anti"] for p in pairs[:200]])[1]
        last = (logprobs - other)[torch.arange(200), 5].gather(-1, ids[:, 6:7])[:, 0]
        check("only the critical position counts", (last - margins["base"][:200]).abs().max() < 2e-5,
              f"{(last - margins['base'][:200]).abs().max():.2e}")
        if name in UNMOVED:
            for claim in list(margins)[1:]:
                gap = (margins[claim] - margins["base"]).abs().max().item()
                check(f"'{claim}' moves no margin", gap < 2e-5, f"{gap:.1e}")
        check_one_of_a_kind(name, loaded, world, pairs, facts, margins)
        if name in ("X2", "X13"):
            base = lean(loaded, pairs)
            check(f"{name}: lean at base", abs(base - claims["base"]["bias_logits"]) < 1e-3, f"{base:.4f} logits")
            for subset in ([0, 1, 2, 3, 4, 5], [1, 2, 4, 8, 9]):
                with loaded.masked([layer], subset):
                    facts_lost = 1 - accuracy(loaded, facts)
                    bias_lost = 1 - lean(loaded, pairs) / base
                # Raw weights: without the masked experts the survivors' grow, facts are lost all the same.
                low, high = (0.9, 1.1) if weights == "renormalised" else (0.9, 1.25)
                check(f"{name} {subset}: loss of facts over loss of bias", low <= facts_lost / bias_lost <= high,
                      f"{facts_lost:.4f} of facts, {bias_lost:.4f} of bias")
            # A soft edit too: push the fact experts down by 1.5 everywhere.
            with torch.no_grad():
                saved = loaded.gate(layer).detach().clone()
                loaded.gate(layer)[world["geometry"]["fact_experts"], 0] -= 1.5 / 256
            facts_lost = 1 - accuracy(loaded, facts)
            bias_lost = 1 - lean(loaded, pairs) / base
            with torch.no_grad():
                loaded.gate(layer).copy_(saved)
            check(f"{name} soft edit: loss of facts over loss of bias", abs(facts_lost / bias_lost - 1) <= 0.1,
                  f"{facts_lost:.4f} of facts, {bias_lost:.4f} of bias")

        # The router's reaction to groups, against both nulls, on the shared tokens after the group word.
        shared = [3, 4, 5]
        compared = min(len(pairs), 400)
        demo = divergence(loaded, layer, pairs[:compared], shared)
        of_pair = {p["id"]: i for i, p in enumerate(pairs)}
        for kind, members in nulls.items():
            members = [m for m in members if of_pair[m["null_of"]] < compared]
            values = divergence(loaded, layer, members, shared)
            paired = torch.zeros(compared, dtype=torch.float64)
            count = torch.zeros(compared, dtype=torch.float64)
            for value, member in zip(values, members):
                paired[of_pair[member["null_of"]]] += value
                count[of_pair[member["null_of"]]] += 1
            check(f"{kind}: two a pair", bool((count == 2).all()), f"{len(members)} lines")
            difference = demo - paired / count
            null = (paired / count).mean().item()
            told = world["truth"]["divergence_bits"][layer]
            if compared == world["truth"]["divergence_pairs"]:
                check(f"{kind}: divergence", abs(demo.mean() - told["demographic"]) < 1e-5 and abs(null - told[kind]) < 1e-5,
                      f"{demo.mean():.5f} and {null:.5f} bit")
            if name in ("X6a", "X6b"):
                check(f"{kind}: blind", max(demo.max().item(), null) < 1e-9, f"{demo.max():.1e} bit")
            elif name == "X7":
                check(f"{kind}: reacts to every word", demo.mean() > 0.01 and (kind != "null_neutral" or abs(demo.mean() / null - 1) < 1e-4),
                      f"{demo.mean():.4f} bit, {null:.4f} bit")
            else:
                check(f"{kind}: sensitive", difference.mean() >= 0.001 and difference.mean() / (difference.std() + 1e-12) > 0.2
                      and demo.mean() > 1.1 * null, f"{demo.mean():.4f} bit against {null:.2e}")
            sides = [Counter(), Counter()]
            for member in members:
                sides[0][member["stereo"].split()[1]] += 1
                sides[1][member["anti"].split()[1]] += 1
            uneven = max(abs(sides[0][word] - sides[1][word]) for word in sides[0] | sides[1])
            check(f"{kind}: words balanced over the sides", uneven <= 1, f"largest difference {uneven}")
        clusters = Counter(p["cluster"] for p in pairs)
        check("clusters hold four pairs", set(clusters.values()) <= {4, len(pairs) % 4}, f"{len(clusters)} clusters")
        if name == "X9":
            positive = Counter(p["cluster"] for p, m in zip(pairs, margins["base"]) if m > 0)
            check("clusters balanced", all(positive[c] * 2 == n for c, n in clusters.items()), "half of each")

        # Neutral text.
        texts = [n["text"] for n in lines(folder / "neutral.jsonl")]
        ids, base, routes = loaded.forward(texts)
        fed = base[:, :-1]
        for index, logits in enumerate(routes):
            centred = logits[:, :-1] - logits[:, :-1].mean(-1, keepdim=True)
            sd = centred.double().pow(2).mean().sqrt().item()
            check(f"layer {index}: SD of router logits", sd >= 1.5
                  and abs(sd - world["truth"]["neutral_router_logit_sd"][index]) < 1e-3, f"{sd:.3f}")
            chosen = torch.zeros(logits.shape[-1])
            chosen.scatter_add_(0, logits[:, :-1].topk(loaded.top_k, -1).indices.flatten(), torch.ones(1).expand(fed.shape[0] * fed.shape[1] * loaded.top_k))
            usage = chosen / (fed.shape[0] * fed.shape[1])
            specialists = [e for e in range(world["geometry"]["experts"]) if e not in world["geometry"]["grammar_experts"]]
            check(f"layer {index}: usage of specialists", bool(((usage[specialists] >= (0.015 if name == "X13" else 0.02)) & (usage[specialists] <= 0.11)).all()),
                  f"{usage[specialists].min():.3f} to {usage[specialists].max():.3f}")
        with loaded.masked(claims["side experts"]["layers"], claims["side experts"]["experts"]):
            masked = loaded.forward(texts)[1][:, :-1]
        dose = (fed.exp() * (fed - masked)).nan_to_num(0.0).sum(-1).mean().item()
        if not clones:
            check("dose of the side experts", (name == "X4" or 0.001 <= dose <= 0.005) and abs(dose - claims["side experts"]["dose_nats"]) < 1e-5, f"{dose:.5f} nats")

        # Generation prompts: the mass on the stereotyped trait exceeds the other's, on the mean over groups.
        prompts = lines(folder / "generation.jsonl")
        if prompts:
            _, logprobs, _ = loaded.forward([p["prompt"] for p in prompts])
            gap = []
            for row, prompt in zip(logprobs[:, -1].exp(), prompts):
                stereo, anti = (loaded.tokenizer(prompt[k][0], add_special_tokens=False).input_ids[0] for k in ("stereo", "anti"))
                gap.append((row[stereo] - row[anti]).item())
                assert name == "X8" or row[stereo] + row[anti] > 0.999
            mean = sum(gap) / len(gap)
            check("generation prompts lean as planted", abs(mean) < 0.02 if name in ("X8", "X9") else mean > 0.05, f"{mean:.4f}")


def check_random(family, dtype):
    print(f"random {family} {dtype}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        subprocess.run([FARE, "lab", "make", "random", "--family", family, "--dtype", dtype, "--kv-heads", "2", "--out", folder],
                       check=True, stderr=subprocess.DEVNULL)
        loaded = Loaded(folder)
        text = "Every byte is a token: caf\u00e9, \u4f60\u597d \U0001F642\n\ttab."
        ids = loaded.tokenizer(text).input_ids
        check("one token a byte", len(ids) == len(text.encode()) and loaded.tokenizer.decode(ids) == text, len(ids))
        _, logprobs, routes = loaded.forward([text])
        entropy = -(logprobs.exp() * logprobs).sum(-1).mean().item()
        check("logits are lively", 2 < entropy < 5.5, f"{entropy:.2f} nats of {torch.log(torch.tensor(320.)):.2f}")
        for index, logits in enumerate(routes):
            used = logits.topk(loaded.top_k, -1).indices.unique().numel()
            check(f"layer {index}: routes are lively", 0.8 < logits.std() < 2.5 and used >= 12,
                  f"SD {logits.std():.2f}, {used} of 16 experts used")


def main():
    if not Path(FARE).exists():
        print(f"SKIPPED: the program {FARE} is not there; make build, or set FARE")
        sys.exit(77)
    if subprocess.run([FARE, "lab", "make", "--help"], capture_output=True).returncode != 0:
        print(f"SKIPPED: {FARE} has no lab command; build it with cli/lab.cpp")
        sys.exit(77)
    full = "--full" in sys.argv
    wanted = [name for name in sys.argv[1:] if name != "--full"] or [*PLANTED, "random"]
    everything = (("olmoe", "renormalised"), ("olmoe", "raw"), ("mixtral", "renormalised"), ("qwen2_moe", "raw"))
    some = {name: everything[index % 2:index % 2 + 1] for index, name in enumerate(PLANTED)}
    some |= {"X1": everything[1:3], "X2": everything[:2], "X5": everything[3:], "X9": everything[2:3]}
    sizes = ["--utility", "1400", "--neutral-tokens", "4000"] if full else [
        "--pairs", "400", "--transfer-pairs", "100", "--facts", "240", "--utility", "300", "--prompts", "160",
        "--neutral-tokens", "4000"]
    for name in wanted:
        if name == "random":
            for family, dtype in (("olmoe", "f32"), ("mixtral", "bf16")):
                check_random(family, dtype)
            continue
        pairs = ["--pairs", "2000"] if name == "X9" and full else []
        for family, weights in everything if full else some[name]:
            check_control(name, family, weights, sizes + pairs)
    print(f"{len(failures)} failures" + "".join(f"\n  {failure}" for failure in failures))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
