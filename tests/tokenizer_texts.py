"""Sentences of the public benchmarks at hand, for tests and benchmarks of the tokenizer."""
import csv
import gzip
import io
import json
import pathlib

FIELDS = {"crows-pairs": ("crows_pairs_anonymized.csv", "revised/*.csv"), "bbq": ("data/*.jsonl*",), "gsm8k": ("test.jsonl", "train.jsonl.gz"),
          "stereoset": ("*.json*", "*/*.json*"), "truthfulqa": ("*.csv", "*.json*"), "winobias": ("**/*.txt*",), "mmlu": ("**/*.csv*", "**/*.json*"),
          "bold": ("prompts/*.json",), "lm-text": ("*.csv*",), "xstest": ("*.csv",), "do-not-answer": ("*.csv",), "winogender": ("**/*.tsv", "**/*.txt"),
          "honest": ("*/*.tsv",), "competition-math": ("*.jsonl",)}


def strings(value):
    """Every text inside a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def texts_of_file(path):
    raw = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode("utf-8", errors="replace")
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[-1]
    if kind == "jsonl":
        for line in text.splitlines():
            if line.strip():
                yield from strings(json.loads(line))
    elif kind == "json":
        yield from strings(json.loads(text))
    elif kind in ("csv", "tsv"):
        csv.field_size_limit(1 << 30)
        for row in csv.reader(io.StringIO(text), delimiter="," if kind == "csv" else "\t"):
            yield from row
    else:
        yield from text.splitlines()


def benchmark_texts(data, names=tuple(FIELDS), least_words=3):
    """Every distinct text of at least `least_words` words in the folders `names` of the data folder, in their order."""
    seen = {}
    for name in names:
        for pattern in FIELDS[name]:
            for path in sorted(pathlib.Path(data, name).glob(pattern)):
                try:
                    for text in texts_of_file(path):
                        if len(text.split()) >= least_words:
                            seen.setdefault(text)
                except json.JSONDecodeError:
                    continue
    return list(seen)
