"""P2: TruthfulQA MC1 and MC2 with the standard primer, `fare eval` against lm-evaluation-harness.

The harness runs a seeded sample of the questions (all with --full) at the fastest of several batch sizes and is
extrapolated by fed tokens; its Python start and its loading of the model are left out.
"""

import json
import shutil
import statistics

from tokenizers import Tokenizer

import crows_pairs
from bench import net

TASKS = ("truthfulqa_mc1", "truthfulqa_mc2")


def read_samples(folder):
    """task -> documents of fare's run, by doc_id."""
    samples = {}
    for task in TASKS:
        path, = folder.glob(f"*/samples_{task}_*.jsonl")
        documents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        samples[task] = {document["doc_id"]: document for document in documents}
    return samples


def near_ties(folder):
    """Questions whose rows, the primer's included, hold a near-tie of experts: the larger of both tasks."""
    (results,) = folder.rglob("results_*.json")
    tasks = json.loads(results.read_text(encoding="utf-8"))["fare"]["tasks"]
    return max(tasks[task]["near_tie"]["routing"] for task in TASKS)


def fed_sequences(samples, tokenizer):
    """Fed token ids of every request."""
    return [tuple(tokenizer.encode(a["arg_0"] + a["arg_1"], add_special_tokens=False).ids[:-1])
            for documents in samples.values() for document in documents.values() for a in document["arguments"].values()]


def measure(bench, model, peers, setting):
    experts, questions = setting[1], bench.pick(40, 817)
    sampled = crows_pairs.sample(range(questions), bench.pick(3, 30, questions), seed=3)
    work = {task: sampled for task in TASKS}
    out, opening = bench.out / "truthfulqa", []
    print(f"-- P2 {model.dtype}: {questions} questions; peer: {len(sampled)}", flush=True)

    tuning = {task: sampled[:bench.pick(1, 3)] for task in TASKS}
    rates = {}
    for batch in bench.pick((8,), (8, 32)):
        answer = peers["peer"].ask("harness", samples=tuning, batch=batch, experts=experts)
        rates[batch] = answer["requests"] / answer["seconds"]
        print(f"   peer, batch {batch:4d}: {rates[batch]:8.1f} requests/s", flush=True)
    batch = max(rates, key=rates.get)

    def fare():
        shutil.rmtree(out, ignore_errors=True)  # a run that is complete would only be printed again
        opening.append(bench.opening_seconds(model))
        seconds, _ = bench.fare("eval", model, "--tasks", ",".join(TASKS), "--metrics", "compat", "--data", bench.data, "--out", out,
                                *(["--limit", questions] if questions < 817 else []))
        return net(seconds, opening[-1])

    answers = {}

    def ask(label):
        answers[label] = peers[label].ask("harness", samples=work, batch=batch, experts=experts)
        return answers[label]["seconds"]

    rounds = bench.race("P2", fare, {label: (peer, lambda label=label: ask(label)) for label, peer in peers.items()})
    samples = read_samples(out)
    sequences = fed_sequences(samples, Tokenizer.from_file(str(model.folder / "tokenizer.json")))
    fed, rows = sum(map(len, sequences)), len({sequence[:n] for sequence in set(sequences) for n in range(1, len(sequence) + 1)})
    sampled_fed = answers["peer"]["fed_tokens"]
    for this in rounds:
        for label in peers:
            this[label] *= fed / sampled_fed

    difference = 0.0
    for task in TASKS:
        for doc_id, theirs in zip(sampled, answers["peer"]["scores"][task], strict=True):
            document = samples[task][doc_id]
            for number, (mine, their) in enumerate(zip(document["filtered_resps"], theirs, strict=True)):
                tokens = document["fare"]["token_counts"][number]
                difference = max(difference, abs(float(mine[0]) - their) / tokens)
    # Where the two best experts of a row are all but equal, the last bit of a product decides which of them runs.
    ties = near_ties(out)
    if model.dtype == "f32" and difference > (1e-2 if ties else 1e-4):
        raise SystemExit(f"P2: log-likelihoods differ from the harness's by up to {difference:.1e} nats per token")
    row = bench.row("P2", f"TruthfulQA MC1 + MC2, {questions} questions", model.dtype, rounds,
                    {label: f"{experts}, batch {batch}" for label in peers}, f"{difference:.0e} nats per token")
    row.notes = [f"P2 {model.dtype}: {len(sequences):,} requests, {fed:,} fed tokens ({sum(map(len, set(sequences))):,} in {len(set(sequences)):,} distinct "
                 f"sequences), {rows:,} distinct prefixes, {ties} questions on a near-tie of experts; {len(sequences) / row.fare_seconds:,.1f} requests/s (peer "
                 f"{len(sequences) / row.peers['peer']['seconds']:,.1f}); the peer ran {sampled_fed:,} of the tokens."]
    return row
