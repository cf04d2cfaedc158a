"""Trains small SentencePiece models with every flag that changes what they do, and writes what the reference library makes
of texts and of ids.

    python tests/golden/sentencepiece/make_goldens.py [--out FOLDER] [--only NAME]

Needs the Python packages sentencepiece and protobuf; versions in README.md.
"""
import argparse
import base64
import json
import pathlib
import random
import tempfile

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as pb

CORPUS = ["the router decides which experts see a token", "The nurse and the engineer are in the same room.",
          "Äpfel und Straße, naïve café déjà vu", "experts experts experts routers routing routed", "1234 56 7890 3.14 and 2024",
          "東京 大阪 日本語 の 文", "don't we'll they've O'Neil's", "aaaa aaa aa a bbbb bbb bb b abab abba", "привет мир Москва",
          "see  two   spaces    here", "ﬁne ½ Å ㎞ ＡＢＣ"] * 3
WORDS = ["the", "router", "decides", "experts", "nurse", "Äpfel", "Straße", "café", "cafe\u0301", "東京", "日本", "xyz", "QQ", "ﬁne", "½", "㎞",
         "ＡＢＣ", "Å", "aaaa", "abab", "bbb", "1234", "3.14", "don't", "<sep>", "<u>", "foo bar", "<s>", "</s>", "<unk>", "▁", "▁▁the", "<0x41>",
         "🦊", "👩‍👩‍👧‍👦", "привет", "\u200b", "\ufeff", "\x01", "x\x00y", "q" * 40, "ab" * 30, "th", "routerouter", "no", "now", "\U000e0001"]
GAPS = ["", " ", " ", " ", "  ", "   ", "\t", "\n", "\r\n", "\u3000", "\xa0"]

# Replacements of the models that do not say "identity"; the library's own tables would make each file 240 KB. A live test
# uses those (tests/tokenizer_live.py).
RULES = {"ﬁ": "fi", "½": "1⁄2", "\u3000": " ", "\xa0": " ", "\t": " ", "\n": " ", "\r": " ", "e\u0301": "é", "Ａ": "A", "Ｂ": "B", "Ｃ": "C",
         "\u200b": "", "\ufeff": " ", "㎞": "km"}
# Cut into several tokens the places of these are counted differently: see README.md.
EXPANDING = ("ﬁ", "½", "㎞", "foo bar", "▁▁", "\u200b\u3000")
BASE = dict(vocab_size=160, hard_vocab_limit=False, num_threads=1, minloglevel=2, character_coverage=0.98)
CASES = {
    "bpe": dict(model_type="bpe"),
    "bpe_identity": dict(model_type="bpe", normalization_rule_name="identity"),
    "bpe_bytes": dict(model_type="bpe", byte_fallback=True, vocab_size=420, normalization_rule_name="identity",
                      remove_extra_whitespaces=False, allow_whitespace_only_pieces=True, split_digits=True),
    "bpe_bytes_no_prefix": dict(model_type="bpe", byte_fallback=True, vocab_size=420, add_dummy_prefix=False,
                                remove_extra_whitespaces=False, normalization_rule_name="identity"),
    "bpe_no_prefix": dict(model_type="bpe", add_dummy_prefix=False),
    "bpe_keep_spaces": dict(model_type="bpe", remove_extra_whitespaces=False),
    "bpe_suffix": dict(model_type="bpe", treat_whitespace_as_suffix=True),
    "bpe_user_defined": dict(model_type="bpe", user_defined_symbols=["<u>", "foo bar", "the", "▁▁"], control_symbols=["<sep>"]),
    "bpe_ids": dict(model_type="bpe", unk_id=3, bos_id=0, eos_id=1, pad_id=2, unk_piece="<UNK>", pad_piece="<pad>"),
    "bpe_no_bos": dict(model_type="bpe", bos_id=-1, eos_id=-1),
    "bpe_across_spaces": dict(model_type="bpe", split_by_whitespace=False, split_by_unicode_script=False),
    "unigram": dict(model_type="unigram"),
    "unigram_identity": dict(model_type="unigram", normalization_rule_name="identity"),
    "unigram_bytes": dict(model_type="unigram", byte_fallback=True, vocab_size=420),
    "unigram_suffix": dict(model_type="unigram", treat_whitespace_as_suffix=True, remove_extra_whitespaces=False),
    "unigram_user_defined": dict(model_type="unigram", user_defined_symbols=["<u>", "foo bar", "rou", "the"],
                                 control_symbols=["<sep>"]),
    "unigram_no_prefix": dict(model_type="unigram", add_dummy_prefix=False, remove_extra_whitespaces=False),
}
# Changes that no training option makes: some pieces marked unused; spaces left as they are; a tie of all scores.
PATCHED = {
    "bpe_unused": ("bpe", lambda model, rng: mark_unused(model, rng, 0.3)),
    "bpe_bytes_unused": ("bpe_bytes", lambda model, rng: mark_unused(model, rng, 0.3)),
    "unigram_unused": ("unigram", lambda model, rng: mark_unused(model, rng, 0.2)),
    "bpe_no_escape": ("bpe", lambda model, rng: setattr(model.normalizer_spec, "escape_whitespaces", False)),
    "bpe_ties": ("bpe_bytes", lambda model, rng: level_scores(model)),
    "unigram_ties": ("unigram", lambda model, rng: level_scores(model)),
}


def mark_unused(model, rng, share):
    for piece in model.pieces:
        if piece.type == 1 and len(piece.piece) > 1 and rng.random() < share:
            piece.type = 5


def level_scores(model):
    for piece in model.pieces:
        if piece.type == 1:
            piece.score = -1.0


def trained(folder, options):
    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(CORPUS), encoding="utf-8")
    options = {**BASE, **options}
    if "normalization_rule_name" not in options:
        hexadecimal = lambda text: " ".join(f"{ord(c):X}" for c in text)
        (folder / "rules.tsv").write_text("".join(f"{hexadecimal(a)}\t{hexadecimal(b)}\n" for a, b in RULES.items()))
        options["normalization_rule_tsv"] = str(folder / "rules.tsv")
    sentencepiece.SentencePieceTrainer.train(input=str(corpus), model_prefix=str(folder / "m"), **options)
    model = pb.ModelProto()
    model.ParseFromString((folder / "m.model").read_bytes())
    model.trainer_spec.ClearField("input")  # paths of the machine
    model.trainer_spec.ClearField("model_prefix")
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    return model


def texts(rng, count):
    fixed = ["", " ", "   ", "a", " a", "a ", " a  b ", "\t", "▁", "▁▁▁", "the", "  the  ", "<s>the</s>", "xyz qqq xyz"]
    return fixed + ["".join(rng.choice(WORDS) + rng.choice(GAPS) for _ in range(rng.randint(1, 9))) for _ in range(count)]


def row_of(processor, text):
    pieces = processor.encode(text, return_type="proto").pieces
    offsets = [[p.begin, p.end] for p in pieces]
    # The library gives the bytes of a character to its last byte piece; here every byte piece has the whole of it.
    for i in range(len(pieces) - 2, -1, -1):
        if processor.is_byte(pieces[i].id) and offsets[i][0] == offsets[i][1]:
            offsets[i] = offsets[i + 1]
    ids = [p.id for p in pieces]
    offsets = None if any(part in text for part in EXPANDING) else offsets
    return {"text": text, "ids": ids, "offsets": offsets, "decoded": decoded(processor, ids)}


def decoded(processor, ids):
    """Text of the ids, without control pieces; null where an unknown piece is shown by a sign of its own."""
    return None if processor.unk_id() in ids else processor.decode(ids)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", default=pathlib.Path(__file__).parent, type=pathlib.Path)
    parser.add_argument("--only", default="")
    parser.add_argument("--texts", type=int, default=40)
    arguments = parser.parse_args()
    models = {}
    for name in [*CASES, *PATCHED]:
        rng = random.Random(name)
        if name in CASES:
            with tempfile.TemporaryDirectory() as folder:
                models[name] = trained(pathlib.Path(folder), CASES[name])
        else:
            base, change = PATCHED[name]
            models[name] = pb.ModelProto()
            models[name].CopyFrom(models[base])
            change(models[name], rng)
        if arguments.only not in name:
            continue
        blob = models[name].SerializeToString()
        processor = sentencepiece.SentencePieceProcessor(model_proto=blob)
        rows = [row_of(processor, text) for text in texts(rng, arguments.texts)]
        size = processor.get_piece_size()
        lists = [[rng.randrange(size) for _ in range(rng.randint(1, 8))] for _ in range(arguments.texts)]
        case = {"texts": rows, "decode": [{"ids": ids, "text": decoded(processor, ids)} for ids in lists],
                "bos": processor.bos_id(), "eos": processor.eos_id(), "unk": processor.unk_id(), "pad": processor.pad_id(),
                "model": base64.b64encode(blob).decode()}
        path = arguments.out / f"case_{name}.json"
        path.write_text(json.dumps(case, ensure_ascii=True, separators=(",", ":")).replace('{"text"', '\n{"text"') + "\n")
        print(name, size, len(blob))


if __name__ == "__main__":
    main()
