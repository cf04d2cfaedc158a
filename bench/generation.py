"""P9: greedy generation, `fare generate` against `generate` of `transformers` with one static batch of all prompts.

Prompts are the first half of sentences, left-padded for the peer, which runs at the faster of its experts implementations.
Texts must be equal up to the first place where the peer's two best tokens are a near-tie.
"""

import json

import crows_pairs
from bench import net
from scoring import pairs_of

NEAR_TIE = 1e-3  # logits


def measure(bench, model, peers, _setting):
    count, new_tokens = bench.pick(8, 32), bench.pick(16, 64)
    pairs = crows_pairs.sample(pairs_of(bench, model), count, seed=8)
    prompts = [[crows_pairs.PREFIX_TOKEN, *first[:max(1, len(first) // 2)]] for first, _ in pairs]
    with open(bench.out / "prompts.jsonl", "w", encoding="utf-8") as file:
        for index, ids in enumerate(prompts):
            file.write(json.dumps({"id": str(index), "prompt_ids": ids}) + "\n")
    print(f"-- P9 {model.dtype}: {count} prompts, {new_tokens} tokens each", flush=True)
    seconds_of = {experts: peers["peer"].ask("generate", prompts=prompts, new_tokens=8, experts=experts)["seconds"]
                  for experts in ("eager", "grouped_mm", "eager", "grouped_mm")}  # the second time counts
    experts = min(seconds_of, key=seconds_of.get)
    texts = {}

    def fare():
        opening = bench.opening_seconds(model)
        return net(bench.fare("generate", model, "--prompts", bench.out / "prompts.jsonl", "--out", bench.out / "texts.jsonl",
                              "--max-new-tokens", new_tokens)[0], opening)

    def ask(label):
        answer = peers[label].ask("generate", prompts=prompts, new_tokens=new_tokens, experts=experts)
        texts[label] = answer["texts"]
        return answer["seconds"]

    rounds = bench.race("P9", fare, {label: (peer, lambda label=label: ask(label)) for label, peer in peers.items()})
    mine = [json.loads(line)["token_ids"] for line in (bench.out / "texts.jsonl").read_text().splitlines()]
    cases = []
    for prompt, text, theirs in zip(prompts, mine, texts["peer"], strict=True):
        if text != theirs:
            at = next(i for i, (a, b) in enumerate(zip(text, theirs)) if a != b)
            cases.append([prompt + text[:at], theirs[at], text[at]])
    largest = max(map(abs, peers["peer"].ask("gaps", cases=cases)["gaps"]), default=0.0)
    if model.dtype == "f32" and largest > NEAR_TIE:
        raise SystemExit(f"P9: a text leaves the peer's where its logits are {largest:.1e} apart, no near-tie")
    same = f"{count - len(cases)} of {count} texts equal"
    row = bench.row("P9", f"greedy generation, {count} prompts x {new_tokens} tokens", model.dtype, rounds,
                    {label: f"{experts}, static batch" for label in peers},
                    same + (f", else logits within {largest:.0e}" if cases else ""))
    tokens = sum(map(len, mine))
    row.notes = [f"P9 {model.dtype}: {tokens / row.fare_seconds:,.0f} generated tokens/s (peer {tokens / row.peers['peer']['seconds']:,.0f})."]
    return row
