"""CrowS-Pairs as token ids: the work that fare and its peers both do.

Shapes: a sentence of n tokens is fed as prefix token + its first n - 1 tokens; all n tokens are scored.
"""

import csv
import json
import random

PREFIX_TOKEN = 0
FILE = "crows-pairs/crows_pairs_anonymized.csv"


def read_pairs(data, tokenizer):
    """Both sentences of every pair as lists of token ids, in file order."""
    with open(data / FILE, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    return [(ids(row["sent_more"]), ids(row["sent_less"])) for row in rows]


def sample(items, count, seed):
    """`count` items drawn without replacement, in their order; all when there are no more."""
    if count >= len(items):
        return list(items)
    return [items[i] for i in sorted(random.Random(seed).sample(range(len(items)), count))]


def sentences_of(pairs):
    return [sentence for pair in pairs for sentence in pair]


def fed_tokens(sentences):
    return sum(len(sentence) for sentence in sentences)


def distinct_rows(sentences):
    """Number of distinct fed prefixes: the rows that remain when every shared prefix is computed once."""
    seen = set()
    for sentence in sentences:
        prefix = (PREFIX_TOKEN, *sentence[:-1])
        seen.update(prefix[:length] for length in range(1, len(prefix) + 1))
    return len(seen)


def write_requests(path, sentences):
    with open(path, "w", encoding="utf-8") as file:
        for index, ids in enumerate(sentences):
            file.write(json.dumps({"id": str(index), "context_ids": [PREFIX_TOKEN], "continuation_ids": ids}) + "\n")


def read_scores(path):
    """Summed log-probabilities in nats, in the order of the requests."""
    with open(path, encoding="utf-8") as file:
        return [json.loads(line)["logprob_nats"] for line in file]


def largest_difference(sentences, mine, theirs):
    """Nats per token."""
    return max(abs(a - b) / len(s) for s, a, b in zip(sentences, mine, theirs, strict=True))
