"""Writes the goldens of fare/models: see README.md. Run from the project's folder:

  OMP_NUM_THREADS=2 .venv/bin/python tests/golden/models/make_models_golden.py
"""

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import reference  # noqa: E402
from reference import config_of  # noqa: E402

HERE = Path(__file__).parent
YARN = {"factor": 4.0, "rope_theta": 10000.0, "rope_type": "yarn", "original_max_position_embeddings": 32}
ODD_YARN = {"factor": 4.0, "rope_theta": 100.0, "rope_type": "yarn", "original_max_position_embeddings": 64, "beta_fast": 8,
            "beta_slow": 2, "truncate": False, "mscale": 0.7, "mscale_all_dim": 1.3}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0, 2.2, 2.6, 3.0],
        "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 11.0, 13.0, 16.0], "original_max_position_embeddings": 16}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
COMMON = {"interleaved rope": None, "no rope on keys": None, "rope sine reversed": None, "gate and up swapped": None,
          "norm weight plus one": None, "mean subtracted": None, "one expert fewer": None}


def mixtral(name, weights, lengths=(1, 2, 10), mistakes=None, storage="bf16", layout="plain", special=None, **changes):
    return {"name": "mixtral_" + name, "family": "mixtral", "weights": "mixtral_" + weights, "storage": storage,
            "layout": layout, "lengths": list(lengths), "config": config_of("mixtral", **changes),
            "special": special or {}, "mistakes": mistakes or {}}


def olmoe(name, weights, lengths=(1, 2, 10), mistakes=None, storage="bf16", layout="plain", special=None, **changes):
    return {"name": "olmoe_" + name, "family": "olmoe", "weights": "olmoe_" + weights, "storage": storage,
            "layout": layout, "lengths": list(lengths), "config": config_of("olmoe", **changes),
            "special": special or {}, "mistakes": mistakes or {}}


def cases():
    wide = {"num_key_value_heads": 4, "head_dim": 16}  # head_dim is twice hidden / heads
    rope = {"rope_theta": ..., **wide}
    starved = {"favourite": 3, "never": 1}
    bias = {f"no bias on {part}": None for part in "qkvo"}
    norms = {"per-head q and k norm": None, "no q and k norm": None}
    result = [
        mixtral("gqa", "gqa", (1, 2, 10, 10, 70), {
            **COMMON, "weights not divided by their sum": None, "kv heads dealt in turn": None,
            "theta of the class": {"rope_theta": 1e6}}),
        mixtral("mha_wide_heads", "wide", (1, 10), {**COMMON, "scale from hidden size": None}, "f32", **wide),
        mixtral("mqa_top1", "mqa", (1, 2, 10), {**COMMON, "weights not divided by their sum": None, "one expert fewer": None},
                "f16", num_key_value_heads=1, head_dim=12, num_local_experts=6, num_experts_per_tok=1),
        mixtral("every_expert", "gqa", (2, 10), {"one expert fewer": None}, num_experts_per_tok=4),
        mixtral("window", "gqa", (3, 4, 5, 10), {"window + 1": {"sliding_window": 5}, "window - 1": {"sliding_window": 3},
                                                 "no window": {"sliding_window": None}}, sliding_window=4),
        mixtral("window_null", "gqa", (10,), {"window 4": {"sliding_window": 4}}, sliding_window=None),
        mixtral("starved", "starved", (2, 10), {"gate and up swapped": None}, special=starved, num_local_experts=5),
        mixtral("one_expert_for_all", "starved", (10,), {"gate and up swapped": None}, special=starved, num_local_experts=5,
                num_experts_per_tok=1),
        mixtral("theta_of_the_class", "gqa", (10,), {"theta 10000": {"rope_theta": 10000.0}}, rope_theta=...),
        mixtral("alias_new_rope_tied", "tied", (2, 10), {"theta of the class": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
                                                         "rope_scaling wins": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}},
                num_local_experts=..., num_experts=4, rope_theta=...,
                rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True),
        mixtral("linear", "wide", (10,), {"default rope": {"rope_scaling": None}}, "f32", rope_scaling={"type": "linear", "factor": 2.5}, **wide),
        mixtral("dynamic", "wide", (10, 16, 17, 40), {"default rope": {"rope_scaling": None}, "of the trained length": {"max_position_embeddings": 64}},
                "f32", rope_scaling={"rope_type": "dynamic", "factor": 2.0}, max_position_embeddings=16, **wide),
        mixtral("yarn", "wide", (10, 40), {"default rope": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
                                           "yarn without its factor on cos and sin": None, "yarn factor on queries only": None,
                                           "L0 ignored": {"rope_parameters": {**YARN, "original_max_position_embeddings": 128}},
                                           "factor from the lengths": {"rope_parameters": {**YARN, "factor": 2.0}}},
                "f32", rope_parameters=YARN, max_position_embeddings=64, **rope),
        mixtral("yarn_all_keys", "wide", (40,), {"truncated": {"rope_parameters": {**ODD_YARN, "truncate": True}},
                                                 "mscale left out": {"rope_parameters": {**ODD_YARN, "mscale": None}},
                                                 "betas left out": {"rope_parameters": {**ODD_YARN, "beta_fast": None, "beta_slow": None}}},
                "f32", rope_parameters=ODD_YARN, **rope),
        mixtral("yarn_attention_factor", "wide", (40,), {"factor computed": {"rope_parameters": YARN}}, "f32",
                rope_parameters={**YARN, "attention_factor": 0.6, "mscale": 0.7}, **rope),
        mixtral("llama3", "wide", (10, 40), {"default rope": {"rope_scaling": None}, "linear": {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}},
                "f32", rope_scaling=LLAMA3, **wide),
        mixtral("longrope", "wide", (10, 16, 17, 40), {"default rope": {"rope_scaling": None},
                                                       "always short": {"rope_scaling": {**LONG, "long_factor": LONG["short_factor"]}},
                                                       "factor 4 not from the lengths": {"rope_scaling": {**LONG, "factor": 4.0}}},
                "f32", rope_scaling=LONG, **wide),
        mixtral("longrope_factors", "wide", (10, 40), {"attention factor computed": {"rope_scaling": {**LONG, "factor": 4.0}}}, "f32",
                rope_scaling={**LONG, "factor": 4.0, "attention_factor": 1.2}, **wide),
        mixtral("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        mixtral("sharded", "sharded", (10,), layout="sharded"),
        mixtral("unaligned", "unaligned", (10,), storage="f32", layout="unaligned"),

        olmoe("gqa", "gqa", (1, 2, 10, 10, 70), {**COMMON, **norms, "weights divided by their sum": None, "kv heads dealt in turn": None,
                                                 "theta 1e6": {"rope_theta": 1e6}}, norm_topk_prob=False),
        olmoe("mha", "mha", (2, 10), {**COMMON, **norms}, "f32", num_key_value_heads=None),
        olmoe("mha_key_absent", "mha", (10,), {}, "f32", num_key_value_heads=...),
        olmoe("mqa", "mqa", (2, 10), {**norms}, "f16", num_key_value_heads=1, num_hidden_layers=3),
        olmoe("clip", "gqa", (2, 10), {"clamp before the norm": None, "values not clamped": None, "no clamp": {"clip_qkv": None},
                                       "clamp 0.5": {"clip_qkv": 0.5}}, clip_qkv=0.4),
        olmoe("clip_null", "gqa", (10,), {"clamp 0.4": {"clip_qkv": 0.4}}, clip_qkv=None),
        olmoe("small_activations", "small", (2, 10), {"eps 1e-6": None, "eps outside the root": None}, rms_norm_eps=..., special={"embedding_scale": 2e-3, "branch_scale": 2e-3}),
        olmoe("bias_normalised", "bias", (2, 10), {**bias, "weights not divided by their sum": None}, attention_bias=True, norm_topk_prob=True),
        olmoe("k8_of_64", "many", (2, 10), {"weights divided by their sum": None, "one expert fewer": None}, num_experts=64,
              num_experts_per_tok=8, intermediate_size=8),
        olmoe("top1", "gqa", (10,), {"weights divided by their sum": None}, num_experts_per_tok=1),
        olmoe("every_expert", "gqa", (10,), {"one expert fewer": None}, num_experts_per_tok=4, norm_topk_prob=True),
        olmoe("alias_new_rope_tied", "tied", (2, 10), {"theta of the class": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}}, num_experts=...,
              num_local_experts=4, rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True),
        olmoe("theta_and_head_of_the_class", "gqa", (10,), {"theta 1e6": {"rope_theta": 1e6}}, rope_theta=..., tie_word_embeddings=...),
        olmoe("yarn", "mha", (10, 40), {"default rope": {"rope_scaling": None}, "yarn without its factor on cos and sin": None}, "f32",
              num_key_value_heads=4, rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
        olmoe("dynamic", "mha", (10, 40), {"default rope": {"rope_scaling": None}}, "f32", num_key_value_heads=4,
              max_position_embeddings=16, rope_scaling={"type": "dynamic", "factor": 2.0}),
        olmoe("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        olmoe("sharded", "sharded", (10,), storage="f16", layout="sharded"),
        olmoe("unaligned", "unaligned", (10,), storage="bf16", layout="unaligned"),
    ]
    seeds = {}
    for case in result:
        case["seed"] = seeds.setdefault(case["weights"], 100 + len(seeds))
    return result


def check_special(case, expected):
    """A favourite expert is always chosen, a starved one never."""
    if "favourite" not in case["special"]:
        return
    for outputs in expected:
        for l in range(case["config"]["num_hidden_layers"]):
            assert (outputs[f"ids.{l}"] == case["special"]["favourite"]).any(1).all()
            assert not (outputs[f"ids.{l}"] == case["special"]["never"]).any()


def write_folder(folder, case, layout):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(case["config"]))
    return reference.write_weights(folder, case, layout)


def main():
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for part in ("weights", "expected"):
        shutil.rmtree(HERE / part, ignore_errors=True)
        (HERE / part).mkdir()
    index = []
    for case in cases():
        with tempfile.TemporaryDirectory() as temporary:
            # The reference reads an aligned single file; what FARE reads is the layout of the case.
            folder = Path(temporary) / "reference"
            write_folder(folder, case, "fused" if case["layout"] == "fused" else "plain")
            expected = [reference.run(reference.load(folder), ids) for ids in reference.sequences_of(case)]
            check_special(case, expected)
            distances = reference.mistake_distances(folder, case, expected)
            store = HERE / "weights" / case["weights"]
            if not store.exists():
                store.mkdir()
                reference.write_weights(store, case)
            files = sorted(path.name for path in store.iterdir())
            flat = {}
            for s, (ids, outputs) in enumerate(zip(reference.sequences_of(case), expected)):
                flat[f"{s}.input_ids"] = ids.to(torch.int32)
                flat.update({f"{s}.{key}": value.contiguous() for key, value in outputs.items()})
            save_file(flat, HERE / "expected" / (case["name"] + ".safetensors"))
        index.append({"name": case["name"], "weights": case["weights"], "files": files,
                      "lengths": case["lengths"], "config": case["config"], "mistakes": distances})
        print(case["name"], {k: round(v, 4) for k, v in distances.items()}, flush=True)
    text = ",\n".join("  " + json.dumps(case) for case in index)
    (HERE / "cases.json").write_text('{"transformers": "%s", "cases": [\n%s\n]}\n' % (transformers.__version__, text))


if __name__ == "__main__":
    main()
