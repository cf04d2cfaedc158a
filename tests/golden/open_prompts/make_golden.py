"""Writes cut_sentences.json: how many sentences of CrowS-Pairs and StereoSet can be cut before the critical word, and a hash
over what they are cut into, by Python's difflib, which the alignment follows.

  python3 tests/golden/open_prompts/make_golden.py DATA_FOLDER
"""

import csv
import difflib
import gzip
import hashlib
import json
import sys
from pathlib import Path


def cut(stereo, anti):
    a, b = stereo.split(), anti.split()
    blocks = difflib.SequenceMatcher(None, a, b).get_opcodes()
    first = next(((i1, i2, j1, j2) for tag, i1, i2, j1, j2 in blocks if tag != "equal"), None)
    if first is None:
        return None
    i1, i2, j1, j2 = first
    if i1 == 0 or j1 == 0 or i1 == i2 or j1 == j2:
        return None
    return " ".join(a[:i1]), " ".join(a[i1:i2]), " ".join(b[j1:j2])


def main():
    data = Path(sys.argv[1])
    rows = list(csv.DictReader((data / "crows-pairs/crows_pairs_anonymized.csv").open(newline="", encoding="utf-8")))
    crows = [cut(row["sent_more"], row["sent_less"]) for row in rows]
    stereoset = json.loads(gzip.decompress((data / "stereoset/stereoset.json.gz").read_bytes()))
    items = []
    for stereo, anti in zip(stereoset["stereotype"], stereoset["anti-stereotype"]):
        if "BLANK" not in stereo["context"]:
            continue
        parts = cut(stereo["sentence"], anti["sentence"])
        before = stereo["context"].split("BLANK")[0].split()
        items.append(parts if parts and len(parts[0].split()) >= len(before) else None)
    out = {}
    for name, parts in (("crows_pairs", crows), ("stereoset", items)):
        kept = [p for p in parts if p]
        text = "".join("\t".join(p) + "\n" for p in kept)
        out[name] = {"sentences": len(parts), "cut": len(kept), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    (Path(__file__).parent / "cut_sentences.json").write_text(json.dumps(out, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
