"""CrowS-Pairs as token ids: the work that fare and its peer both do.

Shapes: a sentence of n tokens is fed as prefix token + its first n - 1 tokens; all n tokens are scored.
"""

import csv
import gzip
import os
import pathlib
import random

from tokenizers import Tokenizer

PREFIX_TOKEN = 0
CROWS = "crows-pairs/crows_pairs_anonymized.csv"
VOCABULARY = "tokenizers/olmo/allenai_eleuther-ai-gpt-neox-20b-pii-special.json.gz"


def data_folder():
    """$FARE_DATA, else ../shared/data beside the project; None when neither is there."""
    beside = pathlib.Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    for folder in (os.environ.get("FARE_DATA"), beside):
        if folder and (pathlib.Path(folder) / CROWS).is_file():
            return pathlib.Path(folder)
    return None


def open_tokenizer(data, model, text):
    """text 'words': the OLMoE vocabulary of 50,304 entries; 'bytes': the random model's own byte-level one."""
    if text == "bytes":
        return Tokenizer.from_file(str(model / "tokenizer.json"))
    return Tokenizer.from_str(gzip.decompress((data / VOCABULARY).read_bytes()).decode())


def read_pairs(data, tokenizer):
    """Both sentences of every pair as lists of token ids, in file order."""
    with open(data / CROWS, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    ids = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    return [(ids(row["sent_more"]), ids(row["sent_less"])) for row in rows]


def sample(pairs, count, seed):
    """`count` pairs drawn without replacement, in file order; all when there are no more."""
    if count >= len(pairs):
        return list(pairs)
    return [pairs[i] for i in sorted(random.Random(seed).sample(range(len(pairs)), count))]


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
