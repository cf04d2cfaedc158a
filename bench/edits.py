"""P3: single-expert masks in the last third of the layers, `fare score --interventions` against a full pass per edit.

The peer is `transformers` (eager, batch 32) with a hook that sets the expert's router logit to minus infinity. It runs a
seeded sample of three edits over a quarter of the pairs (all edits and pairs with --full), extrapolated by fed tokens.
fare's run of every edit is timed with the run without edits that it starts from.
"""

import json
import shutil
import statistics

import crows_pairs
from bench import net
from scoring import pairs_of


def masks(shape, count):
    """(layer, expert) of `count` masks drawn from the last third of the layers."""
    first = -(-2 * shape["layers"] // 3)
    places = [(layer, expert) for layer in range(first, shape["layers"]) for expert in range(shape["experts"])]
    return crows_pairs.sample(places, count, seed=4)


def write_masks(folder, places):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for layer, expert in places:
        edit = {"op": "mask", "layers": [layer], "experts": [expert], "mode": "refill"}
        (folder / f"mask-{layer}-{expert}.json").write_text(json.dumps({"format": "fare-intervention/1", "edits": [edit]}))


def timed_edits(bench, model, places, requests, *flags):
    """Seconds of a run without edits and one under each mask, opening included. Scores lie in `edited/` of bench.out."""
    folder, out = bench.out / "masks", bench.out / "edited"
    write_masks(folder, places)
    shutil.rmtree(out, ignore_errors=True)
    # A mask of an expert that nobody chose has no effect, which is status 3 elsewhere.
    return bench.fare("score", model, "--requests", requests, "--interventions", folder, "--out", out, "--allow-no-effect", *flags)[0]


def measure(bench, model, peers, _setting):
    pairs = crows_pairs.sample(pairs_of(bench, model), bench.pick(60, 400), seed=5)
    sentences = crows_pairs.sentences_of(pairs)
    places = masks(model.shape, bench.options.masks)
    sampled_places = crows_pairs.sample(places, bench.pick(3, 3, len(places)), seed=6)
    sampled = crows_pairs.sentences_of(crows_pairs.sample(pairs, bench.pick(15, 100, len(pairs)), seed=7))
    tokens, sampled_tokens = crows_pairs.fed_tokens(sentences), crows_pairs.fed_tokens(sampled)
    requests = bench.out / "pairs.jsonl"
    crows_pairs.write_requests(requests, sentences)
    print(f"-- P3 {model.dtype}: {len(places)} masks, {len(sentences)} sentences, {tokens} fed tokens; peer: {len(sampled_places)} masks, "
          f"{sampled_tokens} tokens", flush=True)
    opening, scores = [], {}

    def fare():
        opening.append(bench.opening_seconds(model))
        return net(timed_edits(bench, model, places, requests), opening[-1])

    def ask(label):
        seconds = 0
        for layer, expert in sampled_places:
            answer = peers[label].ask("score", sentences=sampled, batch=32, experts="eager", edit={"layer": layer, "expert": expert})
            seconds, scores[layer, expert] = seconds + answer["seconds"], answer["scores"]
        return seconds * len(places) / len(sampled_places) * tokens / sampled_tokens

    for peer in peers.values():
        peer.ask("score", sentences=sampled[:32], batch=32, experts="eager")
    rounds = bench.race("P3", fare, {label: (peer, lambda label=label: ask(label)) for label, peer in peers.items()})

    place_of = {tuple(sentence): index for index, sentence in enumerate(sentences)}
    read = lambda name: crows_pairs.read_scores(bench.out / "edited" / f"{name}.jsonl")
    on_sample = lambda scores: [scores[place_of[tuple(s)]] for s in sampled]
    base, difference, effect, apart = on_sample(read("base")), 0.0, 0.0, []
    for layer, expert in sampled_places:
        mine = on_sample(read(f"mask-{layer}-{expert}"))
        difference = max(difference, crows_pairs.largest_difference(sampled, mine, scores[layer, expert]))
        effect = max(effect, crows_pairs.largest_difference(sampled, mine, base))
        apart += [abs(a - b) / len(s) > 1e-4 for s, a, b in zip(sampled, mine, scores[layer, expert], strict=True)]
    # Where two experts are all but equal, the last bit of a product decides which of them runs: one sentence in a hundred may.
    if model.dtype == "f32" and not (sum(apart) <= 0.01 * len(apart) and effect > 1e-4):
        raise SystemExit(f"P3: edited scores differ from the peer's by up to {difference:.1e} nats per token; the edits change {effect:.1e}")

    row = bench.row("P3", f"{len(places)} single-expert masks, {len(pairs)} pairs", model.dtype, rounds,
                    {label: "eager, batch 32" for label in peers}, f"{difference:.0e} nats per token")
    # Without resuming every mask costs what the base run costs: few masks over part of the pairs tell.
    few, part = sampled_places[:3], sentences if bench.quick else sampled
    crows_pairs.write_requests(bench.out / "part.jsonl", part)
    whole = net(timed_edits(bench, model, few, bench.out / "part.jsonl", "--no-resume"), statistics.median(opening)) / (len(few) + 1)
    together, alone = (net(timed_edits(bench, model, places, bench.out / "part.jsonl", *flags), statistics.median(opening))
                       for flags in ((), ("--no-batch-edits",)))
    whole, resumed = whole * tokens / crows_pairs.fed_tokens(part), row.fare_seconds / len(places)
    row.notes = [f"P3 {model.dtype}: {resumed:.3f} s a mask, the base run's share included; computed whole (`--no-resume`) {whole:.2f} s, "
                 f"{whole / resumed:.1f} times as long; one by one (`--no-batch-edits`) {alone / together:.2f} times; the masks change scores by up to {effect:.0e} nats per token; "
                 f"{sum(apart)} of {len(apart)} scores are more than 1e-4 from the peer's."]
    return row
