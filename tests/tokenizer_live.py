"""Compares `fare tokenize` with the `tokenizers` library on every tokenizer at hand and generated texts.

    python tests/tokenizer_live.py [--program build/fare] [--data ../shared/data] [--texts 600] [--seed 1] [FILE ..]

Ids, byte offsets, pieces and decoded text must be equal. Ends with 77 ("SKIPPED: ..") where library, program or data
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


def main():
    parser = argparse.ArgumentParser()
    root = pathlib.Path(__file__).resolve().parent.parent
    parser.add_argument("--program", default=os.environ.get("FARE", str(root / "build" / "fare")))
    parser.add_argument("--data", default=os.environ.get("FARE_DATA", str(root.parent / "shared" / "data")))
    parser.add_argument("--texts", type=int, default=600)
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
    failed = 0
    for path in files:
        contents = [t["content"] for t in description_of(path).get("added_tokens", [])]
        texts = generated_texts(arguments.seed, arguments.texts, contents)
        different = compare(arguments.program, path, texts) + compare(arguments.program, path, texts[:100], special=False)
        print(f"{path.parent.name}/{path.name}: {len(texts)} texts, {different} differ", flush=True)
        failed += different
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
