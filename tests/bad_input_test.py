"""Gives the program what it must refuse: each time the status, what the message names, and that nothing half-written stays.

  FARE=build/fare python3 tests/bad_input_test.py [part ..]

The full and the read-only folder are small file systems of a private mount namespace (`unshare`, as root or where user
namespaces are allowed); without one that part is left out with a sentence. Standard library only.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

FARE = os.path.abspath(os.environ.get("FARE", "build/fare"))
failures = []


def judge(name, code, text, status, says):
    missing = [part for part in says if part not in text]
    if code != status or missing or "terminate called" in text:
        failures.append(name)
        print(f"  BAD {name}\n    status {code}, expected {status}; missing {missing}\n    {text[-1200:]}", flush=True)


def refused(name, *arguments, status=1, says=(), out=None):
    """Runs the program; it must end with `status`, name every part of `says`, and leave nothing at `out`."""
    done = subprocess.run([FARE, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    judge(name, done.returncode, done.stdout + done.stderr, status, says)
    if out is not None:
        left = sorted(p.name for p in out.parent.iterdir() if p.name.startswith(out.name)) if out.parent.is_dir() else []
        if left:
            failures.append(name)
            print(f"  BAD {name}: left behind {left}", flush=True)
        for entry in left:  # so that the next case starts clean
            path = out.parent / entry
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def lines(path, *objects):
    path.write_text("".join(o if isinstance(o, str) else json.dumps(o) + "\n" for o in objects))
    return path


class Files:
    """A sound model and sound inputs; every case breaks one thing in a copy."""

    def __init__(self, folder):
        self.folder = folder
        self.model = folder / "model"
        self.control = folder / "control"
        made = [["random", "--hidden", "32", "--layers", "2", "--experts", "4", "--top-k", "2", "--expert-width", "16", "--out",
                 self.model],
                ["X1", "--pairs", "160", "--transfer-pairs", "40", "--facts", "100", "--utility", "240", "--prompts", "20",
                 "--out", self.control]]
        for arguments in made:
            subprocess.run([FARE, "lab", "make", *map(str, arguments)], check=True, capture_output=True)
        self.request = {"id": "a", "context_ids": [1, 2], "continuation_ids": [3, 4]}
        self.requests = lines(folder / "requests.jsonl", self.request)
        self.texts = lines(folder / "texts.jsonl", {"id": "a", "context": "One", "continuation": " two"})
        self.out = folder / "out"  # never made by a refused run

    def copy(self, name):
        shutil.copytree(self.model, self.folder / name)
        return self.folder / name

    def score(self, model=None, requests=None):
        return ["score", "--model", model or self.model, "--requests", requests or self.requests, "--matmul", "onednn",
                "--threads", "1", "--out", self.out]

    def diagnose(self, **changed):
        named = {kind: self.control / f"{kind}.jsonl" for kind in ("pairs", "utility", "neutral", "generation")} | changed
        model = named.pop("model", self.control)
        return ["diagnose", "--model", model, *(x for kind, path in named.items() for x in (f"--{kind}", path)), "--matmul",
                "onednn", "--threads", "1", "--out", self.out]


def rewrite_header(path, change):
    """Changes the JSON header of a safetensors file in place."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    change(header)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


def missing_files(f):
    refused("no model folder", *f.score(f.folder / "absent"), says=["absent"], out=f.out)
    refused("no requests", *f.score(requests=f.folder / "absent.jsonl"), says=["absent.jsonl"], out=f.out)
    refused("no intervention", *f.score(), "--intervention", f.folder / "absent.json", says=["absent.json"], out=f.out)
    for name in ("config.json", "model.safetensors"):
        model = f.copy(f"without-{name}")
        (model / name).unlink()
        refused(f"no {name}", *f.score(model), says=[name.split(".")[0]], out=f.out)
    model = f.copy("without-tokenizer")
    (model / "tokenizer.json").unlink()
    refused("no tokenizer", *f.score(model, f.texts), says=["tokenizer.json"], out=f.out)
    for kind in ("pairs", "utility", "neutral", "generation"):
        refused(f"no {kind}", *f.diagnose(**{kind: f.folder / f"no-{kind}.jsonl"}), says=[f"no-{kind}.jsonl"], out=f.out)
    refused("no data folder", "eval", "--model", f.model, "--tasks", "fare_crows_pairs", "--data", f.folder / "no-data", "--out",
            f.out, says=["no-data"], out=f.out)
    (f.folder / "empty-data").mkdir()
    refused("no data file", "eval", "--model", f.model, "--tasks", "fare_crows_pairs", "--data", f.folder / "empty-data", "--out",
            f.out, says=["crows_pairs_anonymized.csv"], out=f.out)
    refused("no run", "report", f.folder / "no-run", says=["no-run"])


def broken_checkpoints(f):
    model = f.copy("cut")
    weights = model / "model.safetensors"
    os.truncate(weights, weights.stat().st_size - 1000)
    refused("truncated weights", *f.score(model), says=["model.safetensors", "cut short"], out=f.out)
    refused("truncated weights, diagnose", *f.diagnose(model=model), says=["model.safetensors"], out=f.out)
    os.truncate(weights, 5)
    refused("five bytes of weights", *f.score(model), says=["model.safetensors"], out=f.out)

    model = f.copy("sharded")
    (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
    data = (model / "model-00001-of-00001.safetensors").read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    names = [name for name in json.loads(data[8 : 8 + size]) if name != "__metadata__"]
    index = {"weight_map": {name: "model-00001-of-00001.safetensors" for name in names}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    os.truncate(model / "model-00001-of-00001.safetensors", len(data) // 2)
    refused("truncated shard", *f.score(model), says=["model-00001-of-00001.safetensors", "cut short"], out=f.out)
    (model / "model-00001-of-00001.safetensors").write_bytes(data)
    index["weight_map"][names[0]] = "model-00002-of-00001.safetensors"
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    refused("missing shard", *f.score(model), says=["model-00002-of-00001.safetensors"], out=f.out)

    def config(name, **changed):
        model = f.copy(name)
        path = model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changed))
        return model

    refused("unknown family", *f.score(config("family", model_type="olmoo", architectures=["OlmooForCausalLM"])), says=["olmoo", "OlmoeForCausalLM"], out=f.out)
    refused("config against weights", *f.score(config("experts", num_experts=5)), says=["expert", "4"], out=f.out)
    refused("more experts chosen than there are", *f.score(config("topk", num_experts_per_tok=9)), says=["num_experts_per_tok", "9"],
            out=f.out)
    model = f.copy("config-broken")
    (model / "config.json").write_text('{"model_type": "olmoe",')
    refused("broken config.json", *f.score(model), says=["config.json"], out=f.out)

    model = f.copy("nan")
    path = model / "model.safetensors"
    raw = bytearray(path.read_bytes())
    (size,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + size])
    name = "model.layers.1.mlp.gate.weight"
    begin = 8 + size + header[name]["data_offsets"][0]
    raw[begin + 20 : begin + 24] = struct.pack("<f", float("nan"))
    path.write_bytes(raw)
    refused("NaN in a weight", *f.score(model), says=[name, "5"], out=f.out)

    model = f.copy("dtype")
    rewrite_header(model / "model.safetensors", lambda header: header[names[0]].update(dtype="F99"))
    refused("unknown dtype", *f.score(model), says=["F99", names[0]], out=f.out)


def refused_configurations(f):
    """A configuration that would be computed wrongly is refused with its key, its value and what is accepted."""
    configs = Path(__file__).resolve().parent / "configs"

    def changed(source, name, says, **keys):
        config = json.loads((configs / f"{source}.json").read_text()) | keys
        path = f.folder / f"{name.replace(' ', '-')}.json"
        path.write_text(json.dumps(config))
        refused(f"{source}: {name}", "validate", "--config-only", path, says=[path.name, *says])

    changed("olmoe-1b-7b", "k above E", ["num_experts_per_tok", "65", "1 to 64"], num_experts_per_tok=65)
    changed("mixtral-8x7b", "no expert chosen", ["num_experts_per_tok", "0"], num_experts_per_tok=0)
    changed("mixtral-8x7b", "heads do not divide", ["num_attention_heads", "32", "num_key_value_heads", "5"], num_key_value_heads=5)
    changed("olmoe-1b-7b", "width does not divide", ["hidden_size", "2050", "num_attention_heads", "16"], hidden_size=2050)
    changed("olmoe-1b-7b", "unknown activation", ["hidden_act", "gelu", "silu"], hidden_act="gelu")
    changed("mixtral-8x7b", "unknown rope", ["rope_scaling", "ntk", "yarn"], rope_scaling={"type": "ntk", "factor": 2.0})
    changed("mixtral-8x7b", "rope without its factor", ["rope_scaling", "factor"], rope_scaling={"type": "linear"})
    changed("olmoe-1b-7b", "partial rope", ["partial_rotary_factor", "1"], partial_rotary_factor=0.5)
    changed("olmoe-1b-7b", "a size as text", ["hidden_size", "2048"], hidden_size="2048")
    changed("olmoe-1b-7b", "a negative size", ["num_hidden_layers", "-16"], num_hidden_layers=-16)
    changed("olmoe-1b-7b", "a size that is null", ["hidden_size"], hidden_size=None)
    for source, key in (("qwen3-30b-a3b", "num_experts_per_tok"), ("deepseek-moe-16b", "num_experts_per_tok"),
                        ("deepseek-v2-lite", "num_experts_per_tok"), ("gpt-oss-20b", "num_experts_per_tok"),
                        ("ernie-4.5-21b-a3b", "moe_k"), ("qwen1.5-moe-a2.7b", "num_experts_per_tok")):
        changed(source, "k above E", [key, "129", "1 to "], **{key: 129})
        changed(source, "quantised by fp8", ["quantization_config", "'fp8'"], quantization_config={"quant_method": "fp8"})
        changed(source, "unknown rope", ["rope_scaling", "ntk", "yarn"], rope_scaling={"type": "ntk", "factor": 2.0})
    groups = {"topk_method": "group_limited_greedy", "n_group": 8, "topk_group": 3}
    changed("deepseek-v2-lite", "groups do not divide", ["n_group", "7", "64"], **groups | {"n_group": 7})
    changed("deepseek-v2-lite", "more groups kept than there are", ["topk_group", "9", "8"], **groups | {"topk_group": 9})
    changed("deepseek-v2-lite", "another selection", ["topk_method", "noaux_tc"], topk_method="noaux_tc")
    changed("deepseek-moe-16b", "another score", ["scoring_func", "sigmoid", "softmax"], scoring_func="sigmoid")
    changed("qwen1.5-moe-a2.7b", "a window of disputed meaning", ["use_sliding_window", "false"], use_sliding_window=True)
    changed("ernie-4.5-21b-a3b", "unknown activation", ["hidden_act", "gelu", "silu"], hidden_act="gelu")
    for method in ("fp8", "gptq", "awq", "bitsandbytes"):
        changed("mixtral-8x7b", f"quantised by {method}", ["quantization_config", f"'{method}'", "BF16"], quantization_config={"quant_method": method})


def tensors_that_do_not_fit(f):
    """Missing, wrongly shaped, wrongly typed and unknown tensors: all in one message."""
    model = f.copy("tensors")
    names = {"model.norm.weight": "model.norm.wight", "model.layers.1.mlp.experts.2.up_proj.weight": "extra.weight"}

    def change(header):
        for old, new in names.items():
            header[new] = header.pop(old)
        header["model.layers.0.self_attn.q_proj.weight"]["shape"].reverse()
        header["model.layers.0.mlp.experts.1.down_proj.weight"]["shape"].reverse()
        header["model.layers.0.mlp.gate.weight"]["dtype"] = "I32"

    rewrite_header(model / "model.safetensors", change)
    refused("tensors that do not fit", *f.score(model),
            says=["2 missing", "1 of another shape", "1 of another dtype", "2 unexpected", "missing tensor 'model.norm.weight' [32]",
                  "'model.layers.0.mlp.experts.1.down_proj.weight' has shape [16, 32], expected [32, 16]",
                  "'model.layers.0.mlp.gate.weight' is stored as I32", "unexpected tensor 'extra.weight'"], out=f.out)
    model = f.copy("many")
    path = model / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"num_hidden_layers": 12}))
    refused("hundreds of missing tensors", *f.score(model), says=["210 missing", "and 110 more missing", "layers.2."], out=f.out)


def ids_without_a_tokenizer(f):
    model = f.copy("only-ids")
    for path in model.glob("tokenizer*"):
        path.unlink()
    done = subprocess.run([FARE, *map(str, f.score(model))], capture_output=True, text=True, timeout=300)
    judge("token ids without a tokenizer", done.returncode, done.stdout + done.stderr, 0, [])
    if done.returncode == 0:
        same = f.folder / "with-tokenizer.jsonl"
        subprocess.run([FARE, *map(str, f.score()[:-1]), same], check=True, capture_output=True)
        if f.out.read_bytes() != same.read_bytes():
            failures.append("token ids without a tokenizer: other scores")
        for left in f.folder.glob("out*"):
            left.unlink()
    done = subprocess.run([FARE, "validate", model], capture_output=True, text=True, timeout=300)
    judge("a model without a tokenizer is sound", done.returncode, done.stdout + done.stderr, 0, ["only requests of token ids"])


def broken_tokenizers(f):
    model = f.copy("large-id")
    path = model / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    piece = next(iter(tokenizer["model"]["vocab"]))
    for piece in tokenizer["model"]["vocab"]:
        if piece == "z":
            break
    tokenizer["model"]["vocab"][piece] = 5000
    path.write_text(json.dumps(tokenizer))
    text = lines(f.folder / "z.jsonl", {"id": "a", "context": "One", "continuation": " zzz"})
    refused("an id outside the vocabulary", *f.score(model, text), says=["5000", "320"], out=f.out)
    path.write_text("{}")
    refused("an empty tokenizer", *f.score(model, f.texts), says=["tokenizer.json"], out=f.out)
    ids = lines(f.folder / "ids.jsonl", f.request | {"continuation_ids": [3, 320]})
    refused("a token id outside the vocabulary", *f.score(requests=ids), says=["320", "'a'"], out=f.out)


def broken_lines(f):
    def seventh(source, broken, name):
        rows = source.read_text().splitlines(True)
        while len(rows) < 8:
            rows.append(json.dumps(json.loads(rows[0]) | {"id": f"more{len(rows)}"}) + "\n")
        rows[6] = broken
        return lines(f.folder / name, *rows)

    bad = seventh(f.requests, '{"id": "x", "context_ids": [1]\n', "requests7.jsonl")
    refused("a broken request", *f.score(requests=bad), says=["requests7.jsonl", "line 7"], out=f.out)
    for kind in ("pairs", "utility", "neutral", "generation"):
        for broken, why in (('{"id": \n', "no JSON"), ('{"colour": 1}\n', "fields"), ("[]\n", "no object"),
                            ('{"id": "\xff"}\n', "text")):
            bad = seventh(f.control / f"{kind}.jsonl", broken, f"{kind}7.jsonl")
            refused(f"{kind}: {why}", *f.diagnose(**{kind: bad}), says=[f"{kind}7.jsonl", "line 7"], out=f.out)
    rows = (f.control / "pairs.jsonl").read_text().splitlines(True)
    rows[6] = rows[5]
    refused("an id twice", *f.diagnose(pairs=lines(f.folder / "twice.jsonl", *rows)), says=["twice.jsonl", "line 7"], out=f.out)
    for kind in ("pairs", "utility"):
        empty = lines(f.folder / "empty.jsonl")
        refused(f"empty {kind}", *f.diagnose(**{kind: empty}), says=["empty.jsonl"], out=f.out)
    rows = [json.loads(row) | {"set": "transfer"} for row in (f.control / "pairs.jsonl").read_text().splitlines()]
    refused("pairs of the transfer set alone", *f.diagnose(pairs=lines(f.folder / "transfer.jsonl", *rows)),
            says=["transfer.jsonl", "of the set 'main'"])
    shutil.rmtree(f.out, ignore_errors=True)
    few = lines(f.folder / "few.jsonl", *(f.control / "pairs.jsonl").read_text().splitlines(True)[:2])
    done = subprocess.run([FARE, *map(str, f.diagnose(pairs=few))], capture_output=True, text=True, timeout=300)
    judge("two pairs", done.returncode, done.stdout + done.stderr, 1, ["pairs"])
    if (f.out / "report.json").exists():
        failures.append("two pairs: a verdict")
    shutil.rmtree(f.out, ignore_errors=True)
    bad = f.folder / "intervention.json"
    bad.write_text('{\n"format": "fare-intervention/1",\n"name": "n"\n"edits": []}')
    refused("a broken intervention", *f.score(), "--intervention", bad, says=["intervention.json", "line 4"], out=f.out)


def thin_data(f):
    """Data that hold too little: refused, or an answer that says so; never a number made of nothing."""
    pairs = [json.loads(line) for line in (f.control / "pairs.jsonl").read_text().splitlines()]
    demographic = [pair for pair in pairs if "null_of" not in pair]
    kept = {pair["id"] for pair in demographic[:9]}
    few = lines(f.folder / "nine.jsonl", *(p for p in pairs if p.get("null_of", p["id"]) in kept))
    refused("too few pairs for a split", *f.diagnose(pairs=few), says=["pairs", "cluster"])
    shutil.rmtree(f.out, ignore_errors=True)
    equal = lines(f.folder / "equal.jsonl", demographic[0] | {"anti": demographic[0]["stereo"]}, *demographic[1:])
    refused("equal sentences", *f.diagnose(pairs=equal), says=["equal.jsonl", "line 1", "the same text"], out=f.out)

    # Together in one run: an axis of one pair, pairs that differ in their first word, utility items that never vary.
    demographic[0]["axis"] = "lonely"
    for pair in pairs:
        for side in ("stereo", "anti"):
            pair[side] = pair[side].removeprefix("the ")
    item = json.loads((f.control / "utility.jsonl").read_text().splitlines()[0])
    data = f.diagnose(pairs=lines(f.folder / "thin.jsonl", *pairs),
                      utility=lines(f.folder / "same.jsonl", *(item | {"id": f"u{i}", "cluster": f"c{i}"} for i in range(240))))
    at = data.index("--generation")
    data = data[:at] + data[at + 2:]
    done = subprocess.run([FARE, *map(str, data), "--quiet"], capture_output=True, text=True, timeout=600)
    judge("thin data", done.returncode, done.stdout + done.stderr, 0, ["Unresolved"])
    report = json.loads((f.out / "report.json").read_text())
    lonely = [row for row in report["bias"]["axes"] if row["axis"] == "lonely"]
    ladder = {row["stage"]: row for row in report["stages"] if row["candidate"] == report["headline"]["candidate"]}
    low, high = ladder[4]["interval"]
    for name, holds in (("an axis of one pair has an interval that says nothing", lonely[0]["bias_interval"][0] < 0),
                        ("a drop that does not vary keeps its bounds", ladder[4]["value"] == 0 and low < -0.5 and high > 0.5),
                        ("too few items never make a cost affordable", ladder[4]["answer"] == "unresolved"),
                        ("without prompts stage 5 is not run", ladder[5]["answer"] == "not_run" and ladder[5]["value"] is None)):
        if not holds:
            failures.append(name)
            print(f"  BAD {name}: {json.dumps(lonely)} {json.dumps(ladder[4])} {json.dumps(ladder[5])}", flush=True)
    shutil.rmtree(f.out, ignore_errors=True)


def other_models(f):
    """An intervention for another model is refused with both values."""
    mask = {"op": "mask", "layers": [1], "experts": [1], "mode": "refill"}
    cases = [({"model": {"model_type": "mixtral"}}, ["mixtral", "olmoe"]),
             ({"model": {"num_layers": 16}}, ["16", "2"]),
             ({"model": {"num_experts": 64}}, ["64", "4"]),
             ({"model": {"top_k": 8}}, ["8", "2"]),
             ({"model": {"fingerprint": "sha256:" + "0" * 64}}, ["fingerprint", "0000"]),
             ({"edits": [mask | {"layers": [2]}]}, ["edit 0", "2"]),
             ({"edits": [mask | {"experts": [4]}]}, ["edit 0", "4"]),
             ({"edits": [mask, mask | {"experts": [1, 2, 3]}]}, ["edit 1"]),
             ({"edits": [mask, {"op": "mosk"}]}, ["edit 1", "mosk"]),
             ({"edits": [mask | {"colour": 1}]}, ["edit 0", "colour"]),
             ({"edits": [{"op": "shared_scale", "layers": [0], "factor": 2.0}]}, ["edit 0", "shared"])]
    for number, (changed, says) in enumerate(cases):
        path = f.folder / f"edit{number}.json"
        path.write_text(json.dumps({"format": "fare-intervention/1", "name": "n", "edits": [mask]} | changed))
        refused(f"intervention {changed}", *f.score(), "--intervention", path, says=[f"{path.name}: ", *says], out=f.out)
    path.write_text(json.dumps({"format": "fare-intervention/1", "edits": [mask | {"expert": [1]}]}))
    refused("a misspelt field", *f.score(), "--intervention", path, says=["'expert'; did you mean 'experts'? known here:"], out=f.out)


def wrong_usage(f):
    refused("no command", status=2)
    refused("unknown command", "diagnoze", status=2, says=["'diagnoze'", "did you mean 'diagnose'", "generate"])
    refused("unknown command, then flags", "scor", "--model", f.model, status=2, says=["'scor'", "did you mean 'score'"])
    refused("unknown inner command", "lab", "mak", "X1", status=2, says=["'mak'", "did you mean 'make'"])
    refused("a misspelt required flag", "score", "--modle", f.model, status=2, says=["'--modle'", "did you mean '--model'"])
    refused("unknown flag", *f.score(), "--modle", "x", status=2, says=["--modle"], out=f.out)
    refused("no number", *f.score(), "--threads", "two", status=2, says=["--threads", "two"], out=f.out)
    for flag, value, least in (("--max-length", "-1", 0), ("--max-length", "9" * 20, 0), ("--limit", "010", 0), ("--seed", "1.0", 0),
                               ("--unit-rows", "0", 1), ("--threads", "0x2", 0)):
        refused(f"{flag} {value}", *f.score(), flag, value, status=2,
                says=[f"{flag}: must be a whole number of at least {least}, found '{value}'"], out=f.out)
    refused("a misspelt flag among others", *f.score(), "--interventon", "x", status=2, says=["did you mean '--intervention'"], out=f.out)
    refused("help for a command that is not there", "diagnoze", "--help", status=2, says=["did you mean 'diagnose'"])
    refused("--config without a file", "score", "--config", status=2, says=["--config"])
    refused("unknown dtype", *f.score(), "--dtype", "f64", status=2, says=["--dtype", "f64"], out=f.out)
    for device in ("gpu", "cuda:", "cuda:-1", "cpu,cpu", "cuda:0,x"):
        refused(f"device {device}", *f.score(), "--device", device, status=2, says=["--device", device, "accepted: cpu, cuda"], out=f.out)
    refused("a device named twice", *f.score(), "--device", "cuda:1,1", status=2, says=["--device", "GPU 1 is named twice"], out=f.out)
    refused("a device that is not there", *f.score(), "--device", "cuda:99", status=2, says=["--device", "cuda:99"], out=f.out)
    refused("unknown task", "eval", "--model", f.model, "--tasks", "fare_crow_pairs", "--data", f.folder, "--out", f.out, status=2,
            says=["fare_crow_pairs", "fare_crows_pairs"], out=f.out)
    refused("unknown control model", "lab", "make", "X77", "--out", f.out, status=2, says=["X77", "X1"], out=f.out)


def in_small_folder(options, command, timeout=300):
    """Runs `command` with a tmpfs of these mount options at $SMALL. None where that cannot be made."""
    with tempfile.TemporaryDirectory() as small:
        script = f'mount -t tmpfs -o {options} none "$SMALL" || exit 99; "$@"; code=$?; ls -A "$SMALL" >&3; exit $code'
        flag = ["-m"] if os.getuid() == 0 else ["-rm"]
        read, write = os.pipe()
        os.set_inheritable(write, True)
        arguments = [part.replace("$SMALL", small) for part in map(str, command)]
        done = subprocess.run(["unshare", *flag, "bash", "-c", f"exec 3>&{write}; {script}", "bash", FARE, *arguments],
                              capture_output=True, text=True, timeout=timeout, env=os.environ | {"SMALL": small}, pass_fds=[write])
        os.close(write)
        with os.fdopen(read) as listing:
            left = listing.read().split()
        return None if done.returncode in (99, 1) and "mount" in done.stderr or "unshare" in done.stderr else (done, left)


def full_and_read_only(f):
    requests = lines(f.folder / "many.jsonl", *(f.request | {"id": f"r{i}"} for i in range(4000)))
    score = f.score(requests=requests)
    score[-1] = "$SMALL/scores.jsonl"
    diagnose = f.diagnose()
    diagnose[-1] = "$SMALL/run"
    made = ["lab", "make", "random", "--hidden", "256", "--out", "$SMALL/model"]
    if in_small_folder("size=1m", ["--version"]) is None:
        print("left out: full and read-only folders (no private mounts here; run as root or allow user namespaces)")
        return
    for name, command in (("score", score), ("diagnose", diagnose), ("lab", made)):
        done, left = in_small_folder("ro", command)
        judge(f"{name} into a read-only folder", done.returncode, done.stdout + done.stderr, 1, ["Read-only"])
        done, left = in_small_folder("size=64k", command)
        judge(f"{name} into a full folder", done.returncode, done.stdout + done.stderr, 1, ["$SMALL".replace("$SMALL", "/")])
        text = done.stdout + done.stderr
        if not any(word in text for word in ("No space left", "disk is full", "full")):
            failures.append(f"{name} into a full folder")
            print(f"  BAD {name} into a full folder does not say so: {text[-600:]}")
        if name == "score" and left:
            failures.append("score into a full folder")
            print(f"  BAD score into a full folder left {left}")


def main():
    if not Path(FARE).exists():
        print(f"{FARE} is not there; set FARE to the program")
        return 1
    with tempfile.TemporaryDirectory() as name:
        files = Files(Path(name))
        parts = (missing_files, broken_checkpoints, refused_configurations, tensors_that_do_not_fit, ids_without_a_tokenizer,
                 broken_tokenizers, broken_lines, thin_data, other_models, wrong_usage, full_and_read_only)
        for part in parts:
            if sys.argv[1:] and part.__name__ not in sys.argv[1:]:
                continue
            part(files)
            print(f"{part.__name__}: {'done' if not failures else len(failures)}", flush=True)
    print(f"bad input: {len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
