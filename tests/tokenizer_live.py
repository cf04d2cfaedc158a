"""Compares `fare tokenize` with the `tokenizers` library on every tokenizer at hand and generated texts.

    python tests/tokenizer_live.py [--program build/fare] [--data ../shared/data] [--texts 100] [--random 40] [--seed 1] [--full]
                                   [--write] [FILE ..]

Ids, byte offsets, pieces and decoded text must be equal. Also: tokenizers put together at random from every component, and the
SentencePiece models at hand against `sentencepiece` (ids and text). `--full`: 5,000 texts each, every sentence of the public
benchmarks, a text of 1 MB without a space, 400 random tokenizers. `--write`: the counts to docs/conformance-tokenizers.md. Ends with 77 ("SKIPPED: ..") where library, program or data
are missing.
"""
import argparse
import gzip
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata

from tokenizer_texts import benchmark_texts

SCRIPTS = [(0x21, 0x7E), (0xA1, 0x17F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x5FF), (0x600, 0x6FF), (0x900, 0x97F),
           (0xE00, 0xE7F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
           (0xAC00, 0xD7A3), (0xFF00, 0xFFEF), (0x10400, 0x1044F), (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF)]
SPACES = ["\t", "\n", "\v", "\f", "\r", "\r\n", " ", "\x1c", "\x85", "\xa0", "\u1680", "\u180e", "\u2000", "\u2003", "\u2009",
          "\u200a", "\u200b", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\ufeff"]
WORDS = ["the", "router", "decides", "which", "Experts", "see", "a", "TOKEN", "nurse", "engineer", "Äpfel", "naïve", "don't", "we'll",
         "I'M", "they'Ve", "O'Neil's", "3.14", "x2", "_under_score", "C++20", "e.g.", "http://a.b/c?d=1", "ﬁne", "Straße", "'s", "'S"]


def pieces_of_text(rng, contents):
    kind = rng.randrange(16)
    if kind < 4:
        return rng.choice(WORDS) + rng.choice([" ", " ", " ", "", "  ", "\n"])
    if kind == 4:
        low, high = rng.choice(SCRIPTS)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8)))
    if kind == 5:
        return " " * rng.randint(1, 25)
    if kind == 6:
        return "".join(rng.choice(SPACES) for _ in range(rng.randint(1, 4)))
    if kind == 7:
        return "".join(rng.choice("0123456789") for _ in range(rng.randint(1, 7)))
    if kind == 8:
        return rng.choice("aeioucnyAEO가ᄀ\u0627あ") + "".join(chr(rng.choice([rng.randint(0x300, 0x36F), 0x327, 0x5B0, 0x94D, 0x1161, 0x3099]))
                                                for _ in range(rng.randint(1, 4)))
    if kind == 9:
        return rng.choice(["👩‍👩‍👧‍👦", "🏳️‍🌈", "👍🏽", "🇩🇪🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀"])
    if kind == 10:
        return chr(rng.choice([rng.randint(0xE000, 0xF8FF), rng.randint(0x40000, 0x4FFFF), rng.randint(0x0, 0x1F), 0x7F, 0xFFFD, 0xFFFE,
                               rng.randint(0x80, 0x9F), 0xFDD0, 0x10FFFF, rng.randint(0xF0000, 0xFFFFD)]))
    if kind == 11 and contents:
        return rng.choice(["", " ", "  ", "x", "é"]) + rng.choice(contents) + rng.choice(["", " ", "x", "\n", rng.choice(contents)])
    if kind == 12:
        return unicodedata.normalize(rng.choice(["NFC", "NFD", "NFKC"]), rng.choice(WORDS) + rng.choice(WORDS))
    if kind == 13:
        return "".join(rng.choice(".,;:!?-–—…'\"«»()[]{}<>/\\|@#$%^&*+=~`") for _ in range(rng.randint(1, 5)))
    if kind == 14:
        code = rng.randrange(0x110000)
        return "" if 0xD800 <= code < 0xE000 else chr(code)
    return rng.choice("abcdefghijklmnopqrstuvwxyzABC") * rng.randint(1, 30)


FIXED = ["", " ", "  ", "   ", "\n", "\r\n", "\t", "a", " a", "a ", " a ", "Hello world", "\u0301", "e\u0301", "e\u0315\u0300", "q\u0307\u0323",
         "\u1e9b\u0323", "a" * 3000, " " * 3000, "ab " * 1000, "\x00", "a\x00b", "ﷺ", "\ufeffa", "1234567", "1 22 333 4444 55555"]


def generated_texts(seed, count, contents):
    rng = random.Random(seed)
    texts = list(FIXED) + [c for c in contents[:40]] + [c + c for c in contents[:10]]
    while len(texts) < count:
        texts.append("".join(pieces_of_text(rng, contents) for _ in range(rng.randint(1, 12))))
    return texts


def byte_offsets(text, offsets):
    starts = [0]
    for character in text:
        starts.append(starts[-1] + len(character.encode("utf-8")))
    return [[starts[min(a, len(text))], starts[min(b, len(text))]] for a, b in offsets]


def expected(tokenizer, contents, text, special):
    encoding = tokenizer.encode(text, add_special_tokens=special)
    pieces = [contents.get(i) or tokenizer.id_to_token(i) for i in encoding.ids]
    return {"ids": encoding.ids, "pieces": pieces, "offsets": byte_offsets(text, encoding.offsets),
            "decoded": tokenizer.decode(encoding.ids, skip_special_tokens=False)}


def description_of(path):
    """The tokenizer.json at `path` (perhaps packed), or the one inside a golden case."""
    raw = gzip.open(path).read() if str(path).endswith(".gz") else pathlib.Path(path).read_bytes()
    description = json.loads(raw)
    return description.get("tokenizer", description)


def compare(program, path, texts, special=True, library=None):
    """Number of texts that differ (the first few are shown)."""
    from tokenizers import Tokenizer

    description = description_of(path)
    contents = {t["id"]: t["content"] for t in description.get("added_tokens", [])}
    tokenizer = library or Tokenizer.from_str(json.dumps(description))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with tempfile.TemporaryDirectory() as folder:
        source, target = os.path.join(folder, "in.jsonl"), os.path.join(folder, "out.jsonl")
        with open(source, "w", encoding="utf-8") as file:
            for number, text in enumerate(texts):
                file.write(json.dumps({"id": str(number), "text": text}) + "\n")
        if str(path).endswith(".gz"):
            tokenizer_file = str(path)
        else:
            tokenizer_file = os.path.join(folder, "tokenizer.json")
            with open(tokenizer_file, "w", encoding="utf-8") as file:
                json.dump(description, file)
        command = [program, "tokenize", "--quiet", "--tokenizer", tokenizer_file, "--input", source, "--out", target]
        subprocess.run(command + ([] if special else ["--no-special-tokens"]), check=True)
        with open(target, encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
    assert len(found) == len(texts)
    different = 0
    for text, got in zip(texts, found):
        try:
            want = expected(tokenizer, contents, text, special)
        except BaseException as error:  # where the library panics there is nothing to compare
            if type(error).__name__ != "PanicException":
                raise
            continue
        wrong = [key for key in want if want[key] != got[key]]
        if wrong:
            different += 1
            if different <= 5:
                print(f"  {str(path)}: {wrong} differ for {text[:200]!r}")
                for key in wrong:
                    at = next((i for i, (a, b) in enumerate(zip(want[key], got[key])) if a != b), min(len(want[key]), len(got[key])))
                    low = max(0, at - 2)
                    print(f"    {key} from {low}: want {want[key][low:at + 6]!r}\n    {' ' * len(key)} got  {got[key][low:at + 6]!r}")
    return different


def random_tokenizer(rng):
    """A tokenizer.json of components, settings and added tokens drawn at random."""
    pattern = lambda: rng.choice([{"String": rng.choice([" ", "a", "er", "\u2581", "\n"])}, {"Regex": rng.choice([r"\s+", r"\p{L}+", r"\d{1,3}", "[aeiou]", r"\s*[\r\n]+", "x+",
                                                                                                                  r"\p{N}", r"[^\s\p{L}\p{N}]+"])}])
    normalizer = lambda: rng.choice([{"type": "NFC"}, {"type": "Prepend", "prepend": rng.choice(["\u2581", "__", "\u00e9"])},
                                     {"type": "Replace", "pattern": pattern(), "content": rng.choice(["\u2581", "", "ab", "\u00e9"])}])
    splits = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    metaspace = lambda: {"type": "Metaspace", "replacement": rng.choice(["\u2581", "_"]), "prepend_scheme": rng.choice(["first", "never", "always"]),
                         "split": rng.random() < 0.5}
    pre = lambda: rng.choice([
        {"type": "Split", "pattern": pattern(), "behavior": rng.choice(splits), "invert": rng.random() < 0.4},
        {"type": "Digits", "individual_digits": rng.random() < 0.5}, metaspace(), {"type": "Whitespace"}, {"type": "WhitespaceSplit"}])
    byte_level = rng.random() < 0.4
    byte = {"type": "ByteLevel", "add_prefix_space": rng.random() < 0.5, "trim_offsets": rng.random() < 0.5, "use_regex": rng.random() < 0.5}
    alphabet = [chr(c) for c in (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x144))] if byte_level else list("abcdefghijklmnopqrstuvwxyzABC \u2581_\u00e90123.,")
    rng.shuffle(alphabet)
    alphabet = alphabet[: len(alphabet) if byte_level or rng.random() < 0.5 else len(alphabet) // 2]
    special = ["<unk>"] + ([f"<0x{i:02X}>" for i in range(256)] if rng.random() < 0.4 else [])
    tokens, merges = special + alphabet, []
    for _ in range(rng.randint(0, 120)):
        left, right = rng.choice(tokens[len(special):]), rng.choice(tokens[len(special):])
        if left + right not in tokens and len(left + right) < 8:
            tokens.append(left + right)
            merges.append([left, right])
    vocabulary = {token: i for i, token in enumerate(tokens)}
    kind = rng.choice(["BPE", "BPE", "WordLevel", "Unigram"])
    if kind == "BPE":
        model = {"type": "BPE", "dropout": None, "unk_token": rng.choice([None, "<unk>"]), "continuing_subword_prefix": None, "end_of_word_suffix": None,
                 "fuse_unk": rng.random() < 0.5, "byte_fallback": rng.random() < 0.5, "ignore_merges": rng.random() < 0.3, "vocab": vocabulary, "merges": merges}
    elif kind == "WordLevel":
        model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"}
    else:
        model = {"type": "Unigram", "unk_id": 0, "byte_fallback": rng.random() < 0.5, "vocab": [[t, -rng.random() * 12] for t in tokens]}
    added = []
    for content in rng.sample(["<s>", "[X]", "the", " a", "<|e|>", "e\u0301x", "\u00e9", "nurse ", "\u2581q", "12"], rng.randint(0, 6)):
        flag = lambda: rng.random() < 0.35
        added.append({"id": vocabulary.get(content, len(tokens) + len([a for a in added if a["content"] not in vocabulary])), "content": content, "single_word": flag(),
                      "lstrip": flag(), "rstrip": flag(), "normalized": flag(), "special": flag()})
    processors = [{"type": "ByteLevel", "add_prefix_space": rng.random() < 0.5, "trim_offsets": rng.random() < 0.7, "use_regex": True}] if byte_level else []
    if rng.random() < 0.5:
        one = {"SpecialToken": {"id": "<unk>", "type_id": 0}}
        single = [one] * rng.randint(0, 2) + [{"Sequence": {"id": "A", "type_id": 0}}] + [one] * rng.randint(0, 1)
        processors.append({"type": "TemplateProcessing", "single": single, "pair": single + [{"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"<unk>": {"id": "<unk>", "ids": [0], "tokens": ["<unk>"]}}})
    decoder = rng.choice([None, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}, {"type": "Fuse"}, {"type": "ByteFallback"}, metaspace(),
                          {"type": "Replace", "pattern": pattern(), "content": " "},
                          {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}])
    sequence = lambda name, key, make, count: make() if count == 1 else {"type": "Sequence", key: [make() for _ in range(count)]}
    pre_tokenizer = None if rng.random() < 0.2 else sequence("pre", "pretokenizers", pre, rng.randint(1, 3))
    if byte_level:
        pre_tokenizer = byte if pre_tokenizer is None else {"type": "Sequence", "pretokenizers": [pre_tokenizer, byte]}
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added,
            "normalizer": None if rng.random() < 0.4 else sequence("n", "normalizers", normalizer, rng.randint(1, 3)), "pre_tokenizer": pre_tokenizer,
            "post_processor": None if not processors else processors[0] if len(processors) == 1 else {"type": "Sequence", "processors": processors},
            "decoder": decoder, "model": model}


def random_tokenizers(program, seed, count, num_texts):
    """(tokenizers, texts, texts that differ). What the library itself refuses is not counted."""
    from tokenizers import Tokenizer

    rng = random.Random(seed)
    compared = texts_compared = different = 0
    while compared < count:
        description = random_tokenizer(rng)
        try:
            library = Tokenizer.from_str(json.dumps(description))
        except Exception:  # noqa: BLE001: the library has one kind for all
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / f"random-{seed}-{compared}.json"
            path.write_text(json.dumps(description))
            texts = generated_texts(rng.random(), num_texts, [t["content"] for t in description["added_tokens"]])
            texts = [t for t in texts if len(t) < 2000]
            wrong = compare(program, path, texts, library=library)
            if wrong:
                kept = pathlib.Path(tempfile.gettempdir()) / path.name
                kept.write_text(json.dumps(description))
                print(f"  kept: {kept}")
        compared += 1
        texts_compared += len(texts)
        different += wrong
    return compared, texts_compared, different


def sentencepiece_models(program, data, seed, num_texts):
    """Rows (name, texts, texts that differ) of the SentencePiece models at hand; empty where the package is missing."""
    try:
        import sentencepiece
    except ImportError:
        print("the Python package sentencepiece is missing: its models are not compared")
        return []
    rows = []
    for path in sorted((data / "tokenizers").glob("*/*.model*")):
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
        texts = generated_texts(seed, num_texts, ["<s>", "</s>", "\u2581", "[INST]", "<0x41>"])
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder) / "in.jsonl"
            source.write_text("".join(json.dumps({"id": i, "text": t}) + "\n" for i, t in enumerate(texts)))
            out = subprocess.run([program, "tokenize", "--tokenizer", str(path), "--input", str(source)], check=True, capture_output=True, text=True).stdout
        different = 0
        for text, line in zip(texts, out.split("\n")):
            got, ids = json.loads(line), processor.encode(text)
            different += got["ids"] != ids or (processor.unk_id() not in ids and got["decoded"] != processor.decode(ids))
        rows.append((f"{path.parent.name}/{path.name}", len(texts), different))
    return rows


def main():
    parser = argparse.ArgumentParser()
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--program", default=os.environ.get("FARE", str(root / "build" / "fare")))
    parser.add_argument("--data", default=os.environ.get("FARE_DATA", str(root.parent / "shared" / "data")))
    parser.add_argument("--texts", type=int, default=100)
    parser.add_argument("--random", type=int, default=40)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    try:
        import tokenizers  # noqa: F401
    except ImportError:
        print("SKIPPED: the Python package tokenizers is missing; install it to compare with it")
        return 77
    if not os.path.exists(arguments.program):
        print(f"SKIPPED: there is no program {arguments.program}; build it or set FARE")
        return 77
    files = [pathlib.Path(name) for name in arguments.files]
    if not files:
        files = sorted((pathlib.Path(arguments.data) / "tokenizers").glob("*/*.json.gz"))
        files += sorted((root / "tests" / "golden" / "tokenizer").glob("case_*.json"))
        if not any(str(name).endswith(".gz") for name in files):
            print("SKIPPED: no tokenizers in the data folder; set FARE_DATA to the folder that holds tokenizers/")
            return 77
    if arguments.full:
        arguments.texts, arguments.random = max(arguments.texts, 5000), max(arguments.random, 400)
    data = pathlib.Path(arguments.data)
    sentences = benchmark_texts(data) if arguments.full else []
    rows, golden = [], [0, 0, 0]
    for path in files:
        contents = [t["content"] for t in description_of(path).get("added_tokens", [])]
        public = path.parent.parent.name == "tokenizers"
        texts = generated_texts(arguments.seed, arguments.texts if public else min(arguments.texts, 1000), contents)
        if public:
            texts += sentences + (["q" * (1 << 20)] if arguments.full else [])
        different = compare(arguments.program, path, texts) + compare(arguments.program, path, texts[:100], special=False)
        if public or different:
            print(f"{path.parent.name}/{path.name}: {len(texts)} texts, {different} differ", flush=True)
        if public:
            rows.append((f"{path.parent.name}/{path.name}", len(texts), different))
        else:
            golden = [golden[0] + 1, golden[1] + len(texts), golden[2] + different]
    if golden[0]:
        rows.append((f"{golden[0]} small tokenizers of tests/golden/tokenizer", golden[1], golden[2]))
    if not arguments.files:
        count, texts, different = random_tokenizers(arguments.program, arguments.seed, arguments.random, 60)
        rows.append((f"{count} tokenizers put together at random", texts, different))
        rows += sentencepiece_models(arguments.program, data, arguments.seed, arguments.texts)
    for name, texts, different in rows:
        print(f"{name}: {texts} texts, {different} differ", flush=True)
    if arguments.write:
        write_page(rows, arguments)
    return 1 if any(different for _, _, different in rows) else 0


def write_page(rows, arguments):
    import tokenizers

    lines = ["# Tokenizers against their reference libraries", "",
             f"Texts whose ids, byte ranges, pieces and decoded text were compared with `tokenizers` {tokenizers.__version__} (SentencePiece models: ids and text with",
             "`sentencepiece`), and how many differ. The texts: generated ones (scripts, emoji with joiners, combining marks, unassigned and private-use code points,",
             "control characters, every white space, special tokens inside words), and with `--full` every sentence of the public benchmarks and 1 MB without a space.", "",
             f"Made by `python tests/tokenizer_live.py{' --full' if arguments.full else ''} --write`.", "", "| tokenizer | texts | differ |", "|---|---|---|"]
    lines += [f"| {name} | {texts:,} | {different} |" for name, texts, different in rows]
    (pathlib.Path(__file__).resolve().parent.parent / "docs" / "conformance-tokenizers.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
