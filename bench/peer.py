"""fare score against `transformers` with hooks: CrowS-Pairs with a routing trace, side by side in one run.

    python bench/peer.py [--quick] [--full] [--dtypes f32,bf16] [--threads N] [--rounds N]

Both sides feed the same token ids to the same random OLMoE-shaped checkpoint with the same number of threads. The peer
is used at its best: right padding after sorting by length, and the fastest batch size and experts implementation found
on a sample. Tokens are counted as fed, without padding; what fare saves by sharing prefixes counts for fare. Fare always
scores every pair; the peer scores a seeded sample (every pair with --full) and is compared by tokens a second. Rounds
alternate, so load on the machine touches both. Loading is measured apart: the peer's from_pretrained, and for fare a
run of one request, which is subtracted. Writes out/bench/peer.json.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import crows_pairs

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKER = pathlib.Path(__file__).resolve().parent / "peer_worker.py"
SIZES = {  # name -> shape of the random checkpoint
    "mid": dict(hidden=1024, layers=8, experts=64, top_k=8, expert_width=512, heads=16),
    "small": dict(hidden=256, layers=4, experts=16, top_k=4, expert_width=256, heads=8),
}
TORCH_NAME = {"f32": "float32", "bf16": "bfloat16"}


def run_child(command, threads):
    """Runs a program; returns (seconds, peak resident bytes). Its output is shown when it fails."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    log = ROOT / "out" / "bench" / "fare.log"
    with open(log, "w", encoding="utf-8") as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with status {process.returncode}:\n{log.read_text()}")
    return seconds, usage.ru_maxrss * 1024


def check_same_priority(worker):
    """A machine that lowers the priority of one side by its name would decide the comparison."""
    mine, peers = os.getpriority(os.PRIO_PROCESS, 0), os.getpriority(os.PRIO_PROCESS, worker.process.pid)
    if mine != peers:
        sys.exit(f"this driver (and so fare) runs at nice {mine}, the peer at {peers}: start again with 'nice -n {max(mine, peers)}'")


class Worker:
    """The peer's process; see peer_worker.py for its commands."""

    def __init__(self, model, dtype, threads):
        self.process = subprocess.Popen(
            [sys.executable, WORKER, "--model", model, "--dtype", TORCH_NAME[dtype], "--threads", str(threads),
             "--prefix-token", str(crows_pairs.PREFIX_TOKEN)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={"GOMP_SPINCOUNT": "1000", **os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"})  # fare waits so too
        self.loaded = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the peer stopped with status {self.process.wait()} (out of memory?); run peer_worker.py to see why")
        return json.loads(line)

    def ask(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def stop(self):
        self.process.stdin.write('{"quit": true}\n')
        self.process.stdin.close()
        self.process.wait()


def make_model(fare, folder, shape, vocab, dtype, threads):
    run_child([fare, "lab", "make", "random", "--family", "olmoe", "--out", folder, "--dtype", dtype, "--vocab", str(vocab),
               "--threads", str(threads)] + [part for key, value in shape.items()
                                             for part in ("--" + key.replace("_", "-"), str(value))], threads)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def write_requests(path, sentences):
    with open(path, "w", encoding="utf-8") as file:
        for index, ids in enumerate(sentences):
            file.write(json.dumps({"id": str(index), "context_ids": [crows_pairs.PREFIX_TOKEN], "continuation_ids": ids}) + "\n")


def read_scores(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["logprob_nats"] for line in file]


def work_flops(shape, vocab, rows):
    """Multiply-adds (two each) of the matrix products that `rows` rows need, attention over keys left out."""
    d = shape["hidden"]
    layer = 4 * d * d + d * shape["experts"] + shape["top_k"] * 3 * d * shape["expert_width"]
    return 2.0 * rows * (shape["layers"] * layer + d * vocab)


def best_setting(worker, sentences, batches):
    """Fastest (batch, experts implementation) on a sample; returns it and every rate tried."""
    tokens = crows_pairs.fed_tokens(sentences)
    worker.ask(run=sentences[:64], batch=32, experts="eager", trace=None)  # warm
    rates = {}
    for experts in ("eager", "grouped_mm"):
        for batch in batches:
            rates[f"{experts}, batch {batch}"] = tokens / worker.ask(run=sentences, batch=batch, experts=experts, trace=None)["seconds"]
            print(f"   {experts:10s} batch {batch:4d}: {rates[f'{experts}, batch {batch}']:8.0f} tokens/s", flush=True)
    experts, batch = max(rates, key=rates.get).split(", batch ")
    return int(batch), experts, rates


def compare(dtype, options, data, out):
    shape, vocab = SIZES[options.size], 50304 if options.text == "words" else 320
    model = out / f"{options.size}-{options.text}-{dtype}"
    weight_bytes = make_model(options.fare, model, shape, vocab, dtype, options.threads)
    pairs = crows_pairs.read_pairs(data, crows_pairs.open_tokenizer(data, model, options.text))
    pairs = crows_pairs.sample(pairs, options.pairs, seed=0)
    sentences = crows_pairs.sentences_of(pairs)
    peer_sentences = crows_pairs.sentences_of(crows_pairs.sample(pairs, len(pairs) if options.full else options.peer_pairs, seed=1))
    tokens, peer_tokens = crows_pairs.fed_tokens(sentences), crows_pairs.fed_tokens(peer_sentences)
    rows = crows_pairs.distinct_rows(sentences)
    write_requests(out / "requests.jsonl", sentences)
    write_requests(out / "one.jsonl", [sentences[0][:2]])
    print(f"-- {dtype}: {len(sentences)} sentences, {tokens} fed tokens, {rows} distinct prefixes; "
          f"peer: {len(peer_sentences)} sentences, {peer_tokens} tokens; weights {weight_bytes / 1e6:.0f} MB", flush=True)

    tuner = Worker(model, dtype, options.threads)
    settings = crows_pairs.sentences_of(crows_pairs.sample(pairs, options.tune_pairs, seed=2))
    batch, experts, rates = best_setting(tuner, settings, options.batches)
    tuner.stop()

    def fare_run(requests, name, traced=True):
        command = [options.fare, "score", "--model", model, "--requests", out / requests, "--out", out / name, "--dtype", dtype,
                   "--threads", str(options.threads), "--quiet"]
        return run_child(command + (["--trace", "routes"] if traced else []), options.threads)

    peer = Worker(model, dtype, options.threads)  # a fresh process: its peak memory is that of the best setting alone
    peer.ask(run=peer_sentences[:32], batch=batch, experts=experts, trace=None)
    fare_run("one.jsonl", "one_scores.jsonl")  # the checkpoint lies in the page cache now
    rounds, fare_peak, peer_peak = [], 0, 0
    for number in range(options.rounds):
        roof = peer.ask(roof=True)["gflops"]
        time.sleep(0.5)  # idle threads of the peer stop spinning
        open_seconds, _ = fare_run("one.jsonl", "one_scores.jsonl")
        seconds, peak = fare_run("requests.jsonl", "scores.jsonl")
        answer = peer.ask(run=peer_sentences, batch=batch, experts=experts, trace=str(out / "peer.trace.safetensors"))
        roof = max(roof, peer.ask(roof=True)["gflops"])
        check_same_priority(peer)
        fare_peak, peer_peak = max(fare_peak, peak), max(peer_peak, answer["peak_bytes"])
        work_seconds = max(seconds - open_seconds, 1e-3)
        rounds.append({"load": os.getloadavg()[0], "fare_seconds": seconds, "fare_open_seconds": open_seconds,
                       "fare_tokens_per_second": tokens / work_seconds, "fare_tokens_per_second_with_open": tokens / seconds,
                       "peer_seconds": answer["seconds"], "peer_tokens_per_second": peer_tokens / answer["seconds"],
                       "roof_gflops": roof, "roof_share": work_flops(shape, vocab, rows) / work_seconds / 1e9 / roof,
                       "peer_roof_share": work_flops(shape, vocab, peer_tokens) / answer["seconds"] / 1e9 / roof})
        last = rounds[-1]
        print(f"   round {number + 1}: fare {last['fare_tokens_per_second']:.0f}, peer {last['peer_tokens_per_second']:.0f} tokens/s, "
              f"ratio {last['fare_tokens_per_second'] / last['peer_tokens_per_second']:.2f}, load {last['load']:.1f}", flush=True)
    peer_scores = answer["scores"]
    peer.stop()

    mine = dict(zip(map(tuple, sentences), read_scores(out / "scores.jsonl")))
    differences = [abs(mine[tuple(s)] - score) / len(s) for s, score in zip(peer_sentences, peer_scores)]
    median = lambda key: statistics.median(r[key] for r in rounds)
    ratios = [r["fare_tokens_per_second"] / r["peer_tokens_per_second"] for r in rounds]
    return {"dtype": dtype, "size": options.size, "text": options.text, "threads": options.threads, "pairs": len(pairs),
            "fed_tokens": tokens, "distinct_prefixes": rows, "peer_fed_tokens": peer_tokens, "peer_batch": batch,
            "peer_experts": experts, "peer_rates": rates, "weight_bytes": weight_bytes,
            "fare_tokens_per_second": median("fare_tokens_per_second"),
            "fare_tokens_per_second_with_open": median("fare_tokens_per_second_with_open"),
            "peer_tokens_per_second": median("peer_tokens_per_second"),
            "ratio": statistics.median(ratios), "ratio_range": [min(ratios), max(ratios)],
            "fare_open_seconds": median("fare_open_seconds"), "peer_load_seconds": peer.loaded["load_seconds"],
            "fare_peak_over_weights": fare_peak / weight_bytes, "peer_peak_over_weights": peer_peak / weight_bytes,
            "roof_gflops": median("roof_gflops"), "roof_share": median("roof_share"), "peer_roof_share": median("peer_roof_share"),
            "largest_difference_nats_per_token": max(differences), "rounds": rounds}


def show(results):
    print(f"\n{'':34s}" + "".join(f"{r['dtype']:>22s}" for r in results))
    row = lambda name, text: print(f"{name:34s}" + "".join(f"{text(r):>22s}" for r in results))
    row("fare, tokens/s", lambda r: f"{r['fare_tokens_per_second']:.0f}")
    row("fare, tokens/s with opening", lambda r: f"{r['fare_tokens_per_second_with_open']:.0f}")
    row("transformers, tokens/s", lambda r: f"{r['peer_tokens_per_second']:.0f}")
    row("  its best setting", lambda r: f"{r['peer_experts']}, batch {r['peer_batch']}")
    row("ratio (median; smallest, largest)", lambda r: f"{r['ratio']:.2f} ({r['ratio_range'][0]:.2f}, {r['ratio_range'][1]:.2f})")
    row("GEMM roof, GFLOP/s", lambda r: f"{r['roof_gflops']:.0f}")
    row("fare, share of the roof", lambda r: f"{r['roof_share']:.0%}")
    row("transformers, share of the roof", lambda r: f"{r['peer_roof_share']:.0%}")
    row("fare, peak memory / weights", lambda r: f"{r['fare_peak_over_weights']:.2f}")
    row("transformers, the same", lambda r: f"{r['peer_peak_over_weights']:.2f}")
    row("fare, opening, s", lambda r: f"{r['fare_open_seconds']:.2f}")
    row("transformers, loading, s", lambda r: f"{r['peer_load_seconds']:.2f}")
    row("largest difference, nats/token", lambda r: f"{r['largest_difference_nats_per_token']:.1e}")
    row("load average while measured", lambda r: f"{min(x['load'] for x in r['rounds']):.1f} to {max(x['load'] for x in r['rounds']):.1f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small model, 200 pairs")
    parser.add_argument("--full", action="store_true", help="the peer scores every pair too")
    parser.add_argument("--fare", type=pathlib.Path, default=ROOT / "build" / "fare")
    parser.add_argument("--dtypes", default="f32,bf16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, help="times that both sides run (default 3; quick 2)")
    parser.add_argument("--pairs", type=int, help="pairs that fare scores (default 1508; quick 200)")
    parser.add_argument("--peer-pairs", type=int, default=300, help="pairs that the peer scores in a round")
    parser.add_argument("--tune-pairs", type=int, default=128, help="pairs on which the peer's setting is chosen")
    parser.add_argument("--text", choices=("words", "bytes"),
                        help="words: OLMoE's vocabulary of 50304; bytes: 258 (default words; quick bytes)")
    options = parser.parse_args()
    options.size = "small" if options.quick else "mid"
    options.text = options.text or ("bytes" if options.quick else "words")
    options.pairs = options.pairs or (200 if options.quick else 1508)
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.batches = (32, 128) if options.quick else (16, 32, 64, 128)
    fewest = 2 * min(options.tune_pairs, options.peer_pairs, options.pairs)  # sentences
    if fewest < max(options.batches):
        parser.error(f"{fewest} sentences cannot fill the peer's batch of {max(options.batches)}; give more pairs")
    unknown = set(options.dtypes.split(",")) - set(TORCH_NAME)
    if unknown:
        parser.error(f"--dtypes: unknown {', '.join(sorted(unknown))}; known: {', '.join(TORCH_NAME)}")
    if not options.fare.is_file():
        sys.exit(f"{options.fare} is not there; run 'make build' or name the program with --fare")
    data = crows_pairs.data_folder()
    if data is None:
        print(f"SKIPPED: {crows_pairs.CROWS} is not there; set FARE_DATA to the folder of the public data")
        return
    out = ROOT / "out" / "bench"
    out.mkdir(parents=True, exist_ok=True)
    results = []
    for dtype in options.dtypes.split(","):
        results.append(compare(dtype, options, data, out))
        (out / "peer.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    show(results)


if __name__ == "__main__":
    main()
