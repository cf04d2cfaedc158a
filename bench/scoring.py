"""P1, P4, P6: CrowS-Pairs with a routing trace, `fare score --trace routes` against `transformers` with hooks.

Both feed the same token ids. The peer is used at its best: right padding after sorting by length, and the fastest batch
size and experts implementation found on a sample. Fare scores every pair; the peer a seeded sample (every pair with
--full), extrapolated by fed tokens without padding: what fare saves by sharing prefixes counts for fare.
"""

import statistics
import time

from tokenizers import Tokenizer

import crows_pairs
from bench import net
from peer import Peer


def work_flops(shape, rows):
    """Multiply-adds (two each) of the matrix products that `rows` rows need, attention over keys left out."""
    d = shape["hidden"]
    layer = 4 * d * d + d * shape["experts"] + shape["top_k"] * 3 * d * shape["expert_width"]
    return 2.0 * rows * (shape["layers"] * layer + d * shape["vocab"])


def pairs_of(bench, model):
    return crows_pairs.read_pairs(bench.data, Tokenizer.from_file(str(model.folder / "tokenizer.json")))


def best_setting(bench, model):
    """Fastest (batch, experts implementation) of the peer on a sample, in a process of its own: memory is measured later."""
    batches = bench.pick((32, 128), (16, 128))
    pairs = crows_pairs.sample(pairs_of(bench, model), max(batches) // 2, seed=2)
    sentences = crows_pairs.sentences_of(pairs)
    tokens, rates, peer = crows_pairs.fed_tokens(sentences), {}, Peer(model, bench)
    peer.ask("score", sentences=sentences[:32], batch=32, experts="eager")
    for experts in ("eager", "grouped_mm"):
        for batch in batches:
            answer = peer.ask("score", sentences=sentences, batch=batch, experts=experts, trace=str(bench.out / "peer.trace.safetensors"))
            rates[batch, experts] = tokens / answer["seconds"]
            print(f"   peer, {experts:10s} batch {batch:4d}: {rates[batch, experts]:8.0f} tokens/s", flush=True)
    peer.stop()
    return max(rates, key=rates.get)


def measure(bench, model, peers, setting):
    batch, experts = setting
    pairs = crows_pairs.sample(pairs_of(bench, model), bench.pick(200, 1508), seed=0)
    sentences = crows_pairs.sentences_of(pairs)
    sampled = crows_pairs.sentences_of(crows_pairs.sample(pairs, bench.pick(64, 300, len(pairs)), seed=1))
    tokens, sampled_tokens, rows = (crows_pairs.fed_tokens(sentences), crows_pairs.fed_tokens(sampled), crows_pairs.distinct_rows(sentences))
    crows_pairs.write_requests(bench.out / "pairs.jsonl", sentences)
    print(f"-- P1 {model.dtype}: {len(sentences)} sentences, {tokens} fed tokens, {rows} distinct prefixes; peer: {len(sampled)} "
          f"sentences, {sampled_tokens} tokens; weights {model.weight_bytes / 1e6:.0f} MB", flush=True)
    seen = {"opening": [], "roof": [], "peak": 0, "scores": None}

    def run(requests, *flags):
        return bench.fare("score", model, "--requests", bench.out / requests, "--out", bench.out / f"scores-{requests}", "--trace", "routes", *flags)

    def fare():
        seen["roof"].append(peers["peer"].ask("roof")["gflops"])
        time.sleep(0.5)  # idle threads of the peer stop spinning
        seen["opening"].append(bench.opening_seconds(model))
        seconds, peak = run("pairs.jsonl")
        seen["peak"] = max(seen["peak"], peak)
        return net(seconds, seen["opening"][-1])

    def ask(label):
        answer = peers[label].ask("score", sentences=sampled, batch=batch, experts=experts, trace=str(bench.out / "peer.trace.safetensors"))
        seen["scores"] = answer["scores"]
        seen["roof"].append(peers[label].ask("roof")["gflops"])
        return answer["seconds"] * tokens / sampled_tokens

    for peer in peers.values():
        peer.ask("score", sentences=sampled[:32], batch=batch, experts=experts)
    bench.opening_seconds(model)  # the checkpoint lies in the page cache now
    rounds = bench.race("P1", fare, {label: (peer, lambda label=label: ask(label)) for label, peer in peers.items()})
    mine = dict(zip(map(tuple, sentences), crows_pairs.read_scores(bench.out / "scores-pairs.jsonl")))
    difference = crows_pairs.largest_difference(sampled, [mine[tuple(s)] for s in sampled], seen["scores"])
    if model.dtype == "f32" and difference > 1e-4:
        raise SystemExit(f"P1: scores differ from the peer's by up to {difference:.1e} nats per token")
    crows_pairs.write_requests(bench.out / "sample.jsonl", sampled)
    shared, unshared = (net(run("sample.jsonl", *flags)[0], statistics.median(seen["opening"])) for flags in ((), ("--no-prefix-sharing",)))

    row = bench.row("P1", f"CrowS-Pairs, {len(pairs)} pairs, routing trace", model.dtype, rounds,
                    {label: f"{experts}, batch {batch}" for label in peers}, f"{difference:.0e} nats per token")
    roof, peer_peak = max(seen["roof"]), peers["peer"].ask("peak")["bytes"]
    share = lambda seconds, number: work_flops(model.shape, number) / seconds / 1e9 / roof
    row.values = {"roof_gflops": roof, "roof_share": share(row.fare_seconds, rows),
                  "peer_roof_share": share(row.peers["peer"]["seconds"], tokens), "fare_peak_over_weights": seen["peak"] / model.weight_bytes,
                  "peer_peak_over_weights": peer_peak / model.weight_bytes, "fare_tokens_per_second": tokens / row.fare_seconds,
                  "opening_seconds": statistics.median(seen["opening"]), "peer_load_seconds": peers["peer"].loaded["load_seconds"]}
    row.notes = [f"P1 {model.dtype}: {tokens:,} fed tokens, {rows:,} distinct prefixes, {tokens / row.fare_seconds:,.0f} fed tokens/s (peer "
                 f"{tokens / row.peers['peer']['seconds']:,.0f}); the peer ran {sampled_tokens:,} of the tokens. With `--no-prefix-sharing` "
                 f"these take fare {unshared / shared:.2f} times as long."]
    return row
