"""Speed of FARE's tokenizer against the `tokenizers` library on one thread, side by side in one run.

    python bench/tokenizer_peer.py [--program build/bench/tokenizer_speed] [--data ../shared/data] [--rounds 5] [FILE ..]

All texts of CrowS-Pairs, BBQ and GSM8K at hand, every tokenizer.json in the data folder (or FILE). The two take turns; the best
round of each counts. ids: FARE ids() against encode_batch_fast (no offsets); encode: with offsets and pieces, against encode_batch.
Prints a table in Markdown. Ends with 77 ("SKIPPED: ..") where library, program or data are missing.
"""
import argparse
import gzip
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))


def main():
    from tokenizer_texts import benchmark_texts

    parser = argparse.ArgumentParser()
    parser.add_argument("--program", default=str(ROOT / "build" / "bench" / "tokenizer_speed"))
    parser.add_argument("--data", default=os.environ.get("FARE_DATA", str(ROOT.parent / "shared" / "data")))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_args()
    data = pathlib.Path(arguments.data)
    try:
        from tokenizers import Tokenizer, __version__
    except ImportError:
        print("SKIPPED: the Python package tokenizers is missing")
        return 77
    files = [pathlib.Path(f) for f in arguments.files] or sorted((data / "tokenizers").glob("*/*.json.gz"))
    if not os.path.exists(arguments.program) or not files:
        print(f"SKIPPED: {arguments.program} or the tokenizers in {data} are not there; build with FARE_BUILD_BENCH=ON, set FARE_DATA")
        return 77
    texts = benchmark_texts(data, ("crows-pairs", "bbq", "gsm8k"))
    size = sum(len(t.encode()) for t in texts)
    print(f"{len(texts)} texts, {size / 1e6:.1f} MB, tokenizers {__version__}, one thread, best of {arguments.rounds} rounds; MB of text a second\n")
    print("| tokenizer | ids | `encode_batch_fast` | ratio | encode | `encode_batch` | ratio |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        list_file = os.path.join(folder, "texts.json")
        pathlib.Path(list_file).write_text(json.dumps(texts))
        for path in files:
            raw = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
            library = Tokenizer.from_str(raw.decode())
            library.no_truncation()
            library.no_padding()
            best = {"ids": 1e9, "encode": 1e9, "fast": 1e9, "batch": 1e9}
            for _ in range(arguments.rounds):
                out = subprocess.run([arguments.program, str(path), list_file, "1"], check=True, capture_output=True, text=True).stdout
                ours = json.loads(out)
                for key in ("ids", "encode"):
                    best[key] = min([best[key], *ours[key]])
                for key, call in (("fast", library.encode_batch_fast), ("batch", library.encode_batch)):
                    begin = time.perf_counter()
                    call(texts)
                    best[key] = min(best[key], time.perf_counter() - begin)
            rate = {key: size / 1e6 / seconds for key, seconds in best.items()}
            print(f"| {path.name.split('.')[0]} | {rate['ids']:.1f} | {rate['fast']:.1f} | {rate['ids'] / rate['fast']:.2f} | {rate['encode']:.1f} | "
                  f"{rate['batch']:.1f} | {rate['encode'] / rate['batch']:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
