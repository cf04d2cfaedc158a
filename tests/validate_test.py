"""Runs `fare validate` as a user would: sound and broken files of every kind, status, and what the messages name.

  FARE=build/fare python3 tests/validate_test.py
"""

import contextlib
import json
import os
import pathlib
import sqlite3
import struct
import subprocess
import sys
import tempfile

FARE = os.environ.get("FARE", "build/fare")
GOLDEN = pathlib.Path(__file__).parent / "golden/safetensors"
CONFIGS = pathlib.Path(__file__).parent / "configs"

# Released checkpoint -> parameters (the publishers' count, without tensors that no forward pass reads), layers with experts,
# bytes of the cache per token: layers x key-value heads x (key + value width) x 4, worked out by hand.
RELEASED = {
    "mixtral-8x7b": (46_702_792_704, 32, 32 * 8 * 256 * 4),
    "qwen1.5-moe-a2.7b": (14_315_784_192, 24, 24 * 16 * 256 * 4),
    "qwen3-30b-a3b": (30_532_122_624, 48, 48 * 4 * 256 * 4),
    "deepseek-moe-16b": (16_375_728_128, 27, 28 * 16 * 256 * 4),
    "olmoe-1b-7b": (6_919_161_856, 16, 16 * 16 * 256 * 4),
    "deepseek-v2-lite": (15_706_484_224, 26, 27 * 16 * (192 + 128) * 4),
    "gpt-oss-20b": (20_914_757_184, 24, 24 * 8 * 128 * 4),
    "ernie-4.5-21b-a3b": (21_825_437_888, 27, 28 * 4 * 256 * 4),
}
failures = 0


def expect(arguments, status, *parts):
    """Runs the program; status and every part of stdout and stderr together must be there."""
    global failures
    run = subprocess.run([FARE, "validate", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    text = run.stdout + run.stderr
    wrong = [part for part in parts if part not in text]
    if run.returncode != status or wrong:
        failures += 1
        print(f"fare validate {' '.join(map(str, arguments))}\n  status {run.returncode}, expected {status}; "
              f"missing {wrong}\n{text}")


def lines(path, *objects):
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    return path


def safetensors(path, shape, values):
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, 4 * len(values)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack(f"<{len(values)}f", *values))
    return path


def files(folder):
    request = {"id": "a", "context_ids": [1, 2], "continuation_ids": [3]}
    pair = {"id": "p", "cluster": "c", "axis": "x", "stereo": "one text", "anti": "another text"}
    utility = {"id": "u", "cluster": "c", "task": "t", "context": "Q", "choices": [" yes", " no"], "gold": 0}
    prompt = {"id": "g", "cluster": "c", "axis": "x", "prompt": "The", "stereo": ["s"], "anti": ["a"]}
    edit = {"format": "fare-intervention/1", "name": "n", "edits": [{"op": "mask", "layers": [0], "experts": [1], "mode": "zero"}]}

    expect([lines(folder / "requests.jsonl", request)], 0, "requests      1", "sound: 1")
    expect([lines(folder / "r.jsonl", request, {"id": "b", "context": "x", "continuation": " y"}, request)], 1, "r.jsonl", "line 3")
    expect([lines(folder / "pairs.jsonl", pair)], 0, "pairs         1")
    expect([lines(folder / "p.jsonl", pair, {**pair, "id": "q", "anti": ""})], 1, "p.jsonl: line 2", "anti")
    expect([lines(folder / "utility.jsonl", utility)], 0, "questions     1")
    expect([lines(folder / "u.jsonl", {**utility, "gold": 2})], 1, "u.jsonl: line 1", "gold")
    expect([lines(folder / "neutral.jsonl", {"text": "Some words."})], 0, "texts         1")
    expect([lines(folder / "generation.jsonl", prompt)], 0, "prompts       1")
    (folder / "edit.json").write_text(json.dumps(edit))
    expect([folder / "edit.json"], 0, "edits         1")
    (folder / "bad.json").write_text(json.dumps({**edit, "edits": [{"op": "mosk"}]}))
    expect([folder / "bad.json"], 1, "bad.json", "mosk")

    (folder / "seven.jsonl").write_text((json.dumps({"text": "t"}) + "\n") * 6 + "{broken\n")
    expect([folder / "seven.jsonl"], 1, "seven.jsonl: line 7")
    (folder / "first.jsonl").write_text("{broken\n")
    expect([folder / "first.jsonl"], 1, "first.jsonl: line 1")
    (folder / "empty.jsonl").write_text("")
    expect([folder / "empty.jsonl"], 1, "empty.jsonl", "empty")
    expect([lines(folder / "odd.jsonl", {"colour": 1})], 1, "odd.jsonl", "colour", "--kind")
    expect([folder / "absent.jsonl"], 1, "absent.jsonl", "no such file")
    expect([folder / "bad.json", folder / "pairs.jsonl", folder / "r.jsonl"], 1, "bad.json", "pairs         1", "line 3", "2 of 3")
    expect([folder / "pairs.jsonl", "--kind", "utility"], 1, "pairs.jsonl", "line 1")
    expect([folder / "pairs.jsonl", "--kind", "poem"], 2, "poem")
    expect([], 2, "PATH")
    expect(["--help"], 0, "Examples:", "requests")


def results(folder):
    """What FARE writes: the examples of the docs are sound, a figure that cannot be right is named with its line or field."""
    examples = pathlib.Path(__file__).parent.parent / "docs/examples"
    for name in ("scores.jsonl", "requests.jsonl", "prompts.jsonl", "texts.jsonl", "intervention.json", "receipt.json"):
        expect([examples / name], 0, "sound: 1")
    report = json.loads((pathlib.Path(__file__).parent / "golden/report/example_report.json").read_text())

    def written(name, value):
        (folder / name).write_text(json.dumps(value))
        return folder / name

    expect([written("report.json", report)], 0, "headline      " + report["headline"]["code"], f"stages        {len(report['stages'])}")
    expect([written("r1.json", report | {"headline": report["headline"] | {"code": "fine"}})], 1, "r1.json: headline", "'fine'")
    expect([written("r2.json", report | {"experts": None})], 1, "r2.json: experts: is null without 'experts_reason'")
    expect([written("r3.json", {k: v for k, v in report.items() if k != "masking"})], 1, "r3.json", "'masking' is missing")
    receipt = json.loads((examples / "receipt.json").read_text())
    layer = receipt["layers"]["12"]
    for changed, says in (({"topk_changed_share": 1.5}, "1.5"), ({"edits_applied": 1}, "edits_applied"), ({"tokens_in_scope": -1}, "-1"),
                          ({"gate_mass_moved": None}, "null without 'gate_mass_moved_reason'")):
        expect([written("r.json", receipt | {"layers": {"12": layer | changed}})], 1, "r.json: layer 12", says)
    score = json.loads((examples / "scores.jsonl").read_text().splitlines()[0])
    for changed, says in (({"num_tokens": 7}, "num_tokens"), ({"logprob_nats": -1.0}, "sum to"), ({"token_ids": [1]}, "token_logprobs_nats"),
                          ({"is_greedy": 1}, "is_greedy"), ({"token_logprobs_nats": [0.5, 1]}, "no log-probability")):
        expect([lines(folder / "s.jsonl", score, score | {"id": "other"} | changed)], 1, "s.jsonl: line 2", says)
    text = json.loads((examples / "texts.jsonl").read_text().splitlines()[0])
    expect([lines(folder / "t.jsonl", text, text)], 1, "t.jsonl: line 2", "twice")
    expect([lines(folder / "t.jsonl", text | {"finish": "tired"})], 1, "t.jsonl: line 1", "tired")
    (folder / "rows.sqlite").write_bytes(b"no database")
    expect([folder / "rows.sqlite"], 1, "rows.sqlite")
    run = folder / "run"
    run.mkdir()
    (run / "config.toml").write_text('command = "diagnose"\n')
    with contextlib.closing(sqlite3.connect(run / "rows.sqlite")) as rows:  # docs/store.md
        rows.executescript("PRAGMA journal_mode = WAL; PRAGMA application_id = 0x46415245; PRAGMA user_version = 1;"
                           "CREATE TABLE rows (model TEXT NOT NULL, intervention TEXT NOT NULL, task TEXT NOT NULL, item TEXT NOT NULL, "
                           "scoring TEXT NOT NULL, seed INTEGER NOT NULL, unit TEXT NOT NULL, value_json TEXT NOT NULL, PRIMARY KEY "
                           "(model, intervention, task, item, scoring, seed)) WITHOUT ROWID;"
                           "INSERT INTO rows VALUES ('m', '', 't', 'i', 's', 0, 'u', '{\"x\": 1}');")
    expect([run], 0, "run folder", "rows          1", "no report.json")
    same("files beside the rows", sorted(path.name for path in run.iterdir()), ["config.toml", "rows.sqlite"])
    written("run/report.json", report)
    expect([run], 0, "rows          1", "headline")
    written("run/report.json", report | {"splits": None})
    expect([run], 1, "report.json: splits: is null")


def models(folder):
    expect([GOLDEN / "python_written/model.safetensors"], 0, "10 tensors", "BF16", "kind = golden")
    expect([GOLDEN / "python_sharded/model.safetensors.index.json"], 0, "tensors       10")
    broken = folder / "broken.safetensors"
    broken.write_bytes((GOLDEN / "python_written/model.safetensors").read_bytes()[:-1])
    expect([broken], 1, "broken.safetensors", "cut short")
    expect([safetensors(folder / "nan.safetensors", [2, 2], [0, 1, float("nan"), 2])], 0, "4 parameters")
    expect([folder / "nan.safetensors", "--weights"], 1, "nan.safetensors: tensor 'w' holds NaN at index [1, 0]")

    model = folder / "model"
    model.mkdir()
    expect([model], 1, "config.json")
    config = {"architectures": ["OtherForCausalLM"], "model_type": "other"}
    (model / "config.json").write_text(json.dumps(config))
    expect([model], 1, "no weights")
    expect([model, "--config-only"], 1, "OtherForCausalLM", "OlmoeForCausalLM")
    safetensors(model / "model.safetensors", [1], [0])
    expect([model], 1, "other", "OlmoeForCausalLM")
    (model / "model.safetensors").rename(model / "part.safetensors")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "../part.safetensors"}}))
    expect([model], 1, "'w'", "plain name")
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"w": "lost.safetensors"}}))
    expect([model], 1, "lost.safetensors: no such file")

    made = folder / "random"
    subprocess.run([FARE, "lab", "make", "random", "--family", "olmoe", "--out", str(made)], check=True, capture_output=True)
    expect([made, "--weights", "--fingerprint"], 0, "OlmoeForCausalLM", "all finite", "sha256:", "experts       16 per layer")
    (made / "model.safetensors").write_bytes((made / "model.safetensors").read_bytes()[:-4])
    expect([made], 1, "model.safetensors", "cut short")


def found(*arguments):
    """The object that --json prints for one file."""
    run = subprocess.run([FARE, "validate", "--json", *map(str, arguments)], capture_output=True, text=True, timeout=120)
    return json.loads(run.stdout)["files"][0]


def same(what, value, expected):
    global failures
    if value != expected:
        failures += 1
        print(f"{what}: {value}, expected {expected}")


def configurations(folder):
    for name, (parameters, moe_layers, cache) in RELEASED.items():
        file = found("--config-only", CONFIGS / f"{name}.json")
        if not file["sound"]:
            same(name, file["error"], "sound")
            continue
        same(f"{name}: parameters", file["parameters"], parameters)
        same(f"{name}: layers with experts", file["moe_layers"], moe_layers)
        same(f"{name}: cache", file["cache_bytes_per_token"], cache)
        same(f"{name}: active below all", 0 < file["active_parameters"] < parameters / 3, True)
        same(f"{name}: one type", sorted(file["stored_bytes"]), ["BF16", "U8"] if name == "gpt-oss-20b" else ["BF16"])
        if name != "gpt-oss-20b":
            same(f"{name}: bytes", file["stored_bytes"]["BF16"], 2 * parameters)
    # 16 layers of attention, norms, router and 8 of 64 experts, the final norm, the head and one row of the embedding.
    layer = 4 * 2048**2 + 4 * 2048 + 64 * 2048 + 8 * 3 * 2048 * 1024
    olmoe = CONFIGS / "olmoe-1b-7b.json"
    same("active", found("--config-only", olmoe)["active_parameters"], 16 * layer + 2048 + 50304 * 2048 + 2048)
    expect(["--config-only", olmoe], 0, "6 919 161 856", "1 178 996 736 active", "OlmoeForCausalLM", "13 838 323 712 bytes of BF16", "fits")
    expect([olmoe], 0, "model configuration", "6 919 161 856")

    config = json.loads(olmoe.read_text())
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "torch_dtype"} | {"dtype": "float32"}))
    file = found("--config-only", folder)
    same("float32", file["stored_bytes"], {"F32": 4 * 6_919_161_856})
    same("converted at use", [file["fits"][t]["converted_at_use"] for t in ("f32", "bf16")], [False, True])
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if k != "torch_dtype"}))
    same("no dtype", found("--config-only", folder)["stored_bytes"], None)
    same("no such file", found(folder / "absent.json")["sound"], False)


with tempfile.TemporaryDirectory() as temporary:
    (pathlib.Path(temporary) / "configurations").mkdir()
    configurations(pathlib.Path(temporary) / "configurations")
    files(pathlib.Path(temporary))
    (pathlib.Path(temporary) / "results").mkdir()
    results(pathlib.Path(temporary) / "results")
    models(pathlib.Path(temporary))
sys.exit(1 if failures else 0)
