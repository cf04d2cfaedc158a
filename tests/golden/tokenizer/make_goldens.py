"""Writes one JSON file a case beside this script: a small tokenizer.json, texts, and what the `tokenizers` library
makes of them. See README.md."""
import json
import pathlib
import random
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
from tokenizer_live import byte_offsets, generated_texts  # noqa: E402

CORPUS = ["The router decides which experts see a token, and the experts do not know why they were chosen.",
          "the nurse said that she would call; the engineer said that he wouldn't.", "don't we'll they've I'm you'd it's let's",
          "1 22 333 4444 55555 666666 7777777 in 2024, about 3.14 and -17", "Äpfel, naïve café, Straße, ﬁne, Москва и мир, 東京 と 京都",
          "x-y--z  and   some    spaces\tand tabs\nand lines\r\nhere", "lower Upper CamelCase SNAKE_CASE path/to/file.txt"] * 3
WORDS = ["<unk>", "<s>", "</s>", "the", "router", "decides", "which", "experts", "see", "a", "token", "nurse", "she", "he", ",", ".", "don", "'",
         "t", "!", "東京", "naïve", "é", "--", "_x_", "[MASK]", "12", "3"]


def added(ids, contents, vocabulary_size=None, **flags):
    base = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    base.update(flags)
    return [dict(id=i, content=c, **base) for i, c in zip(ids, contents)]


def tokenizer(model, normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None, added_tokens=()):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": list(added_tokens), "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": post_processor, "decoder": decoder, "model": model}


def byte_level(prefix=False, trim=True, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": trim, "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def sequence(key, *items):
    return {"type": "Sequence", key: list(items)}


def replace(pattern, content, kind="String"):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


def metaspace(scheme="always", do_split=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": do_split}


def template(before, after, ids):
    special = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}  # noqa: E731
    sequence_of = lambda name: {"Sequence": {"id": name, "type_id": 0}}  # noqa: E731
    return {"type": "TemplateProcessing", "single": [special(n) for n in before] + [sequence_of("A")] + [special(n) for n in after],
            "pair": [sequence_of("A"), sequence_of("B")],
            "special_tokens": {n: {"id": n, "ids": i, "tokens": [n] * len(i)} for n, i in ids.items()}}


def trained_byte_bpe(size=420):
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=size, show_progress=False,
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return json.loads(trained.to_str())["model"]


def trained_marked_bpe(first, size=600, **options):
    """SentencePiece-like: spaces are marks, the whole text is one piece."""
    trained = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    trained.train_from_iterator(["▁" + line.replace(" ", "▁") for line in CORPUS],
                                trainers.BpeTrainer(vocab_size=size, special_tokens=first, show_progress=False, max_token_length=12))
    model = json.loads(trained.to_str())["model"]
    model.update(options)
    return model


BYTES = [f"<0x{b:02X}>" for b in range(256)]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,;:-_'\n\t▁éäßМ東京"


def character_bpe(**options):
    """One token a character, a few merges, unknown characters as <unk>."""
    vocabulary = {c: i for i, c in enumerate(LETTERS)}
    merges = [("t", "h"), ("th", "e"), ("a", "n"), ("an", "d"), (" ", " "), ("  ", "  "), (" ", "the"), ("-", "-"), ("0", "0"), ("1", "2"),
              ("a", "a"), ("aa", "aa"), ("aaaa", "aaaa"), ("e", "r"), ("▁", "the"), ("▁", "a")]
    for left, right in merges:
        vocabulary.setdefault(left + right, len(vocabulary))
    vocabulary["<unk>"] = len(vocabulary)
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": [list(m) for m in merges]}
    model.update(options)
    return model


def decorated_bpe(prefix, suffix, **options):
    letters = "abcdehilnorstuwy',."
    spelled = [c for c in letters] + [prefix + c for c in letters] + [c + suffix for c in letters] + [prefix + c + suffix for c in letters]
    vocabulary = {}
    for token in spelled:
        vocabulary.setdefault(token, len(vocabulary))
    merges = [("t", prefix + "h"), ("th", prefix + "e" + suffix), ("s", prefix + "e"), (prefix + "e", prefix + "r"), (prefix + "o", prefix + "u"),
              (prefix + "er", prefix + "s" + suffix), (prefix + "n", prefix + "d" + suffix), ("a", prefix + "nd" + suffix)]
    for left, right in merges:
        vocabulary.setdefault(left + right[len(prefix):], len(vocabulary))
    vocabulary["<unk>"] = len(vocabulary)
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": prefix, "end_of_word_suffix": suffix,
             "fuse_unk": True, "byte_fallback": False, "ignore_merges": False, "vocab": vocabulary, "merges": [list(m) for m in merges]}
    model.update(options)
    return model


def word_level():
    return {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(WORDS)}, "unk_token": "<unk>"}


def unigram(byte_fallback=False, extra=()):
    pieces = [["<unk>", 0.0], ["<s>", 0.0], ["▁", -2.5], ["▁the", -3.0], ["▁t", -4.5], ["the", -4.0], ["he", -4.2], ["e", -3.5], ["t", -3.6], ["h", -4.4],
              ["r", -4.0], ["o", -4.1], ["u", -4.3], ["ou", -5.0], ["er", -3.9], ["router", -9.5], ["▁router", -9.0], ["s", -3.7], ["n", -3.8],
              ["a", -3.3], ["an", -4.0], ["and", -5.5], ["▁and", -5.0], ["d", -4.0], ["1", -5.0], ["2", -5.1], ["12", -6.0], ["é", -7.0],
              ["東京", -8.0], ["aa", -6.6], ["aaa", -9.9], ["  ", -3.0], [" ", -2.0], [".", -3.0], [",", -3.1], ["xy", -9.0]]
    pieces += list(extra)
    if byte_fallback:
        pieces += [[b, -20.0] for b in BYTES]
    return {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": byte_fallback}


R1 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
R2 = "|".join([r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
               r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
               r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
R3 = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"\s+$", "[一-龥ࠀ-一가-퟿]+", r"\p{N}+"]
EXPRESSIONS = {"dollar": r"\s+$", "caret": r"^\s*\w", "hex": r"\h+", "not_hex": r"\H+", "word": r"\w+", "not_word": r"\W+", "digit": r"\d{1,3}",
               "not_digit": r"[^\d]+", "class_of_classes": r"[a-z&&[^aeiou]]+", "nested_class": r"[a-c[x-z]0-9]+", "negated_nested": r"[^[a-z] ]+",
               "posix": r"[[:alpha:]]+|[[:punct:]]+|[[:space:]]", "not_posix": r"[[:^alpha:]]+", "property_caret": r"\p{^L}+", "not_property": r"\P{L}+",
               "names": r"\p{Uppercase_Letter}|\p{lowercase_letter}+|\p{Nd}+", "lookbehind": r"(?<=[a-z])(?=[A-Z])", "lookahead": r"\s+(?!\S)",
               "boundary": r"\b", "not_boundary": r"\B.", "dot": r".{3}", "dot_all": r"(?m:.){4}", "ignore_case": r"(?i:the|s)", "ignore_case_class": r"(?i)[a-e]+",
               "open_interval": r"a{,3}b?", "brace": r"a{|e}", "lazy": r"[a-z]+?e", "possessive": r"[a-z]++", "atomic": r"(?>a+)b?", "backreference": r"(.)\1",
               "unicode_escape": "\\u0065|\\x{74}|\\x68", "spaces": r"\s", "not_spaces": r"\S+", "white_class": r"[\s,]+", "not_white_class": r"[^\s\p{P}]+",
               "categories": r"\p{Lu}|\p{Ll}+|\p{Lo}+|\p{Lm}|\p{M}+|\p{S}|\p{Zs}+|\p{C}", "marks": r"\p{L}\p{M}*", "star": r"[0-9]*", "vertical": r"\v|\t", "comment": r"e(?#an e)r",
               "bracket_first": r"[]a]+", "escapes_in_class": r"[\]\-\\.^]+", "alternation": r"|the|e", "hyphen_last": r"[a-]+", "any_newline": r"\R"}


def cases():
    bytes_bpe = trained_byte_bpe()
    size = len(bytes_bpe["vocab"])
    end_of_text = added([size], ["<|endoftext|>"])
    neox_added = end_of_text + added(range(size + 1, size + 5), ["    ", "   ", "\t\t", "é"], normalized=True, special=False)
    yield "byte_level_nfc", tokenizer(bytes_bpe, {"type": "NFC"}, byte_level(), byte_level(), byte_level(), neox_added)
    yield "byte_level_prefix", tokenizer(bytes_bpe, None, byte_level(prefix=True), byte_level(prefix=True), byte_level(), end_of_text)
    yield "byte_level_prefix_no_trim", tokenizer(bytes_bpe, None, byte_level(prefix=True), byte_level(prefix=True, trim=False), byte_level(), end_of_text)
    yield "byte_level_trim_without_prefix", tokenizer(bytes_bpe, None, byte_level(prefix=True), byte_level(prefix=False), byte_level(), end_of_text)
    yield "byte_level_whole_text", tokenizer(bytes_bpe, None, byte_level(regex=False), None, byte_level())
    qwen = sequence("pretokenizers", split(R1), byte_level(regex=False))
    yield "qwen_like", tokenizer(bytes_bpe, {"type": "NFC"}, qwen, byte_level(trim=False), byte_level(),
                                 end_of_text + added([size + 1], ["<think>"], special=False))
    yield "o200k_like", tokenizer(dict(bytes_bpe, ignore_merges=True), None, sequence("pretokenizers", split(R2), byte_level(regex=False)), None, byte_level(), end_of_text)
    yield "ignore_merges", tokenizer(dict(bytes_bpe, ignore_merges=True, merges=bytes_bpe["merges"][:40]), None, byte_level(), None, byte_level())
    deepseek = sequence("pretokenizers", *[split(r) for r in R3], byte_level(regex=False))
    yield "deepseek_like", tokenizer(bytes_bpe, sequence("normalizers"), deepseek, sequence("processors", byte_level(), template(["<s>"], [], {"<s>": [size]})), byte_level(),
                                     added([size], ["<s>"]))
    old = dict(bytes_bpe, merges=["#version: 0.2"] + [" ".join(m) for m in bytes_bpe["merges"]])
    old.pop("type")
    old.pop("ignore_merges")
    yield "old_merges", tokenizer(old, None, byte_level(), None, byte_level())
    yield "removed_inverted", tokenizer(bytes_bpe, None, sequence("pretokenizers", split(R1, "Removed", True), byte_level(regex=False)), None, byte_level())
    yield "byte_level_then_digits", tokenizer(bytes_bpe, None, sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level(), {"type": "Digits", "individual_digits": False}), byte_level(), byte_level())

    spm_decoder = sequence("decoders", replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
    spm_normalizer = sequence("normalizers", {"type": "Prepend", "prepend": "▁"}, replace(" ", "▁"))
    first = ["<unk>", "<s>", "</s>"]
    marked = trained_marked_bpe(first + BYTES)
    special = added([0, 1, 2], first)
    bos = template(["<s>"], [], {"<s>": [1]})
    yield "mixtral_like", tokenizer(marked, spm_normalizer, None, bos, spm_decoder, special)
    yield "mixtral_metaspace", tokenizer(marked, None, metaspace("first", False), bos, sequence("decoders", replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}), special)
    yield "ernie_like", tokenizer(marked, replace(" ", "▁"), None, None, sequence("decoders", replace("▁", " "), {"type": "ByteFallback"}, {"type": "Fuse"}), special)
    few_bytes = trained_marked_bpe(first + [b for b in BYTES if b not in ("<0xE6>", "<0xF0>", "<0xD0>")])
    yield "some_byte_tokens", tokenizer(few_bytes, spm_normalizer, None, None, spm_decoder, special)
    yield "some_byte_tokens_no_fuse", tokenizer(dict(few_bytes, fuse_unk=False), spm_normalizer, None, bos, spm_decoder, special)
    no_bytes = trained_marked_bpe(first, byte_fallback=False)
    yield "no_byte_tokens_fused", tokenizer(no_bytes, spm_normalizer, None, None, spm_decoder, special)
    yield "no_byte_tokens", tokenizer(dict(no_bytes, fuse_unk=False), spm_normalizer, None, None, None, special)
    yield "unknown_dropped", tokenizer(dict(no_bytes, unk_token=None), spm_normalizer, None, None, None, special)
    yield "byte_fallback_without_pieces", tokenizer(dict(no_bytes, byte_fallback=True), spm_normalizer, None, None, spm_decoder, special)

    split_words = {"type": "WhitespaceSplit"}
    yield "word_prefix", tokenizer(decorated_bpe("##", ""), None, split_words)
    yield "word_suffix", tokenizer(decorated_bpe("", "</w>"), None, split_words, None, sequence("decoders", replace("</w>", " "), {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 0, "stop": 1}))
    yield "word_prefix_and_suffix", tokenizer(decorated_bpe("##", "</w>", fuse_unk=False), None, {"type": "Whitespace"})

    plain = character_bpe()
    # One token a piece, known or not: the offsets show where pieces begin and end.
    words = word_level()
    for behavior in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        for invert in [False, True]:
            name = f"split_{behavior}{'_inverted' if invert else ''}"
            yield name + "_spaces", tokenizer(words, None, split(r"\s", behavior, invert))
            yield name + "_literal", tokenizer(words, None, split("-", behavior, invert, "String"))
            yield name + "_empty_matches", tokenizer(words, None, split(r"[0-9]*", behavior, invert))
            yield name + "_empty_literal", tokenizer(words, None, split("", behavior, invert, "String"))
    for name, expression in EXPRESSIONS.items():
        yield "regex_" + name, tokenizer(words, None, split(expression))
    for individual in [False, True]:
        yield f"digits_{individual}", tokenizer(words, None, {"type": "Digits", "individual_digits": individual})
    for scheme in ["first", "never", "always"]:
        for do_split in [False, True]:
            yield f"metaspace_{scheme}_{do_split}", tokenizer(dict(marked), None, metaspace(scheme, do_split), bos, metaspace(scheme, do_split), special)
    yield "metaspace_old", tokenizer(dict(marked), None, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True, "str_rep": "▁"}, None,
                                     {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}, special)
    yield "metaspace_after_split", tokenizer(dict(marked), None, sequence("pretokenizers", split("-", "Isolated", False, "String"), metaspace("first", True)), None, metaspace("first"), special)
    yield "metaspace_after_strip", tokenizer(dict(marked), replace(r"^\s+", "", "Regex"), metaspace("first", True), None, metaspace("first"), special)

    yield "word_level", tokenizer(words, None, split_words, None, None, added([1, 2], ["<s>", "</s>"]))
    yield "word_level_whitespace", tokenizer(words, None, {"type": "Whitespace"}, template(["<s>"], ["</s>"], {"<s>": [1], "</s>": [2]}), None, added([1, 2], ["<s>", "</s>"]))
    yield "word_level_whole_text", tokenizer(words)
    yield "word_level_template", tokenizer(words, None, split_words, template(["both", "<s>"], ["</s>", "both"], {"<s>": [1], "</s>": [2], "both": [2, 1]}), None,
                                           added([1, 2], ["<s>", "</s>"]))

    n = len(plain["vocab"])
    flags = [("single", dict(single_word=True)), ("left", dict(lstrip=True)), ("right", dict(rstrip=True)), ("both", dict(lstrip=True, rstrip=True)),
             ("single_both", dict(single_word=True, lstrip=True, rstrip=True))]
    for name, given in flags:
        for normalized in [False, True]:
            tokens = added([n, n + 1], ["<m>", "he"], normalized=normalized, **given) + added([n + 2, n + 3], ["<m>x", "  "], normalized=False)
            yield f"added_{name}{'_normalized' if normalized else ''}", tokenizer(plain, {"type": "NFC"}, None, None, None, tokens)
    yield "added_normalized_prefix", tokenizer(marked, spm_normalizer, None, None, spm_decoder,
                                               special + added([len(marked["vocab"]), len(marked["vocab"]) + 1], ["nurse", "a b"], normalized=True, special=False))
    yield "added_trimmed", tokenizer(bytes_bpe, None, byte_level(), byte_level(), byte_level(),
                                     added([size], ["<m>"], lstrip=True, rstrip=True) + added([size + 1], [" sp "], special=False))
    yield "added_overlapping", tokenizer(plain, None, None, None, None, added([plain["vocab"]["the"], n, n + 1], ["the", "then", "thenurse"], special=False))

    yield "replace_expression", tokenizer(plain, sequence("normalizers", replace(r"\s+", " ", "Regex"), replace(r"[0-9]", "0", "Regex"), replace("东", "東")))
    yield "replace_longer", tokenizer(plain, sequence("normalizers", replace("é", "ee"), replace("-", "--"), replace("the", "")))
    yield "replace_between", tokenizer(plain, replace(r"(?<=[a-z])(?=[A-Z])", " ", "Regex"), split_words)
    yield "prepend_long", tokenizer(plain, sequence("normalizers", {"type": "NFC"}, {"type": "Prepend", "prepend": "a. "}, replace(" ", "_")))

    strip = lambda content, start, stop: {"type": "Strip", "content": content, "start": start, "stop": stop}  # noqa: E731
    yield "decode_strip", tokenizer(plain, None, None, None, sequence("decoders", strip("t", 1, 0), strip("e", 0, 1), strip("0", 2, 0)))
    yield "decode_replace", tokenizer(plain, None, None, None, sequence("decoders", replace(r"[aeiou]", "_", "Regex"), replace("th", "")))
    yield "decode_bytes", tokenizer(marked, None, None, None, sequence("decoders", {"type": "ByteFallback"}, {"type": "Fuse"}), special)
    yield "decode_metaspace_never", tokenizer(marked, replace(" ", "▁"), None, None, metaspace("never"), special)
    yield "decode_byte_level_with_others", tokenizer(dict(plain), None, None, None, byte_level(), added([n, n + 1], ["東 京", "Ġa"], special=False))

    for fallback in [False, True]:
        yield f"unigram_bytes_{fallback}", tokenizer(unigram(fallback), None, metaspace("always"), None, metaspace("always"), added([1], ["<s>"]))
        yield f"unigram_whole_{fallback}", tokenizer(unigram(fallback), replace(" ", "▁"), None, None, None)
    yield "unigram_unknown_is_dear", tokenizer(unigram(False, [["qw", -15.0], ["w", 3.0]]), None, split_words)
    yield "trim_more_than_the_text", tokenizer(bytes_bpe, sequence("normalizers", replace("x", "    "), replace("é", " e ")), byte_level(regex=False), byte_level(prefix=False), byte_level())
    spaced = character_bpe(vocab={"e": 0, "Ġ": 1, "eĠ": 2, "eĠĠ": 3, "a": 4, "<unk>": 5}, merges=[["e", "Ġ"], ["eĠ", "Ġ"]])
    yield "trim_the_end_of_a_short_text", tokenizer(spaced, replace("é", "e  "), byte_level(regex=False), byte_level(), byte_level())
    yield "unigram_fused_unknown_known", tokenizer(unigram(False, [["ßß", -4.0]]), None, split_words)


SHORT = ["", " ", "  ", "the router", " the router  ", "The thenurse-said--that  she's", "a-b--c---d", "--", "-", "aaaaaaaaaaaaaaaaaaaaaaaaaaaab", "1 22 333 4444",
         "x12y00z٣", "CamelCase ABC aBc", "don't DON'T we'll", "é e\u0301 q\u0307\u0323 ﬁ", "東京 タワー", "Москва мир", "👩‍👩‍👧 👍🏽", "\ue000\u0378\U0010ffff",
         "a\tb\nc\r\n d\n", "\u3000a\u00a0b\u180e c\u2028", "<s> x</s><unk>", "x<m>y <m> z <m>x  <m>", "he the he hello  he ", "<|endoftext|>a<|endoftext|> b",
         "a b nurse nurses", "  sp sp  ", "é\u0301 \u0301", "ßß xßßy ß", "[]a-^\\.", "the▁the ▁a", "a\nb \n", "\nthe\n\nthe", "aaaa. the", "\x00\x1f\x7f", "½ Ⅷ ² ① a1",
         "ﷺ ꜳ ǅ ʰ", "a{3} e}", "deadBEEF xyz", "qw wqw qq", "x", "xx é", "a\u1df6\u0300", "\U00011935\U00011930", "\u0301\u0315\u05b0", "a\u0305\u0301e\u0301", "é", "aé", "e  e "]


FAILED = []  # what the library itself cannot do (it panics); nothing to compare there


def attempt(name, call):
    try:
        return call()
    except BaseException as error:  # a panic is no Exception
        if isinstance(error, KeyboardInterrupt):
            raise
        FAILED.append((name, str(error)[:60]))
        return None


def decodes(library, rng, size):
    out = []
    for _ in range(6):
        ids = [rng.randrange(size + 2) for _ in range(rng.randint(0, 12))]
        for skip in [False, True]:
            out.append({"ids": ids, "skip_special_tokens": skip, "text": attempt("decode", lambda: library.decode(ids, skip_special_tokens=skip))})
    return out


def main():
    for old in HERE.glob("case_*.json"):
        old.unlink()
    count = 0
    for name, description in cases():
        try:
            library = Tokenizer.from_str(json.dumps(description))
        except Exception as error:
            raise SystemExit(f"{name}: {error}")
        contents = {t["id"]: t["content"] for t in description["added_tokens"]}
        rng = random.Random(name)
        # The first generated texts are long; only those after them vary from case to case.
        texts = SHORT + [t for t in generated_texts(rng.randrange(10 ** 6), 90, list(contents.values())) if len(t) < 80][-6:]
        rows = []
        for text in texts:
            encoding = attempt(name, lambda: library.encode(text))
            if encoding is None:
                continue
            rows.append({"text": text, "ids": encoding.ids, "offsets": byte_offsets(text, encoding.offsets),
                         "ids_without_special_tokens": library.encode(text, add_special_tokens=False).ids,
                         "decoded": attempt(name, lambda: library.decode(encoding.ids, skip_special_tokens=False))})
        size = max(list(contents) + list(library.get_vocab(False).values()))
        golden = {"tokenizer": description, "texts": rows, "decode": decodes(library, rng, size)}
        lines = ["{\"tokenizer\": " + json.dumps(description, ensure_ascii=False) + ",", "\"texts\": ["]
        lines += [json.dumps(row, ensure_ascii=True) + ("," if row is not rows[-1] else "") for row in rows]
        lines += ["],", "\"decode\": " + json.dumps(golden["decode"]) + "}"]
        (HERE / f"case_{name}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
        count += 1
    print(count, "cases; the library failed at", len(FAILED), "calls:", sorted({f"{a}: {b}" for a, b in FAILED}))


if __name__ == "__main__":
    main()
