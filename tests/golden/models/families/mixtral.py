"""Mixtral: tensors, cases and mistakes. Reference: transformers."""

import reference
from reference import COMMON, Draw, random_rope, random_sizes

PARTS = ("w1", "w3", "w2")
YARN = {"factor": 4.0, "rope_theta": 10000.0, "rope_type": "yarn", "original_max_position_embeddings": 32}
ODD_YARN = {"factor": 4.0, "rope_theta": 100.0, "rope_type": "yarn", "original_max_position_embeddings": 64, "beta_fast": 8,
            "beta_slow": 2, "truncate": False, "mscale": 0.7, "mscale_all_dim": 1.3}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0, 2.2, 2.6, 3.0],
        "long_factor": [1.0, 2.0, 3.0, 5.0, 8.0, 11.0, 13.0, 16.0], "original_max_position_embeddings": 16}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key."""
    return reference.merged({
        "architectures": ["MixtralForCausalLM"], "model_type": "mixtral", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "num_experts_per_tok": 2, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "num_local_experts": 4,
    }, changes)


def tensors(case):
    draw, c = Draw(case), case["config"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        draw.norms(layer)
        draw.attention(layer)
        draw.moe(layer + "block_sparse_moe.", c.get("num_experts") or c["num_local_experts"], c["intermediate_size"], PARTS)
    draw.head(c.get("tie_word_embeddings"))
    return draw.finish()


def fused(tensors, config):
    return reference.fuse_experts(tensors, "block_sparse_moe.", PARTS)


def cases():
    case = reference.case_maker("mixtral", config)
    wide = {"num_key_value_heads": 4, "head_dim": 16}  # head_dim is twice hidden / heads
    rope = {"rope_theta": ..., **wide}
    starved = {"favourite": 3, "never": 1}
    return reference.seeded([
        case("gqa", "gqa", (1, 2, 10, 10, 70), {
            **COMMON, "weights not divided by their sum": None, "kv heads dealt in turn": None,
            "theta of the class": {"rope_theta": 1e6}}),
        case("mha_wide_heads", "wide", (1, 10), {**COMMON, "scale from hidden size": None}, "f32", **wide),
        case("mqa_top1", "mqa", (1, 2, 10), {**COMMON, "weights not divided by their sum": None, "one expert fewer": None},
             "f16", num_key_value_heads=1, head_dim=12, num_local_experts=6, num_experts_per_tok=1),
        case("every_expert", "gqa", (2, 10), {"one expert fewer": None}, num_experts_per_tok=4),
        case("window", "gqa", (3, 4, 5, 10), {"window + 1": {"sliding_window": 5}, "window - 1": {"sliding_window": 3},
                                              "no window": {"sliding_window": None}}, sliding_window=4),
        case("window_null", "gqa", (10,), {"window 4": {"sliding_window": 4}}, sliding_window=None),
        case("starved", "starved", (2, 10), {"gate and up swapped": None}, special=starved, num_local_experts=5),
        case("one_expert_for_all", "starved", (10,), {"gate and up swapped": None}, special=starved, num_local_experts=5,
             num_experts_per_tok=1),
        case("theta_of_the_class", "gqa", (10,), {"theta 10000": {"rope_theta": 10000.0}}, rope_theta=...),
        case("alias_new_rope_tied", "tied", (2, 10), {"theta of the class": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}},
                                                      "rope_scaling wins": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}},
             num_local_experts=..., num_experts=4, rope_theta=...,
             rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True),
        case("linear", "wide", (10,), {"default rope": {"rope_scaling": None}}, "f32", rope_scaling={"type": "linear", "factor": 2.5}, **wide),
        case("dynamic", "wide", (10, 16, 17, 40), {"default rope": {"rope_scaling": None}, "of the trained length": {"max_position_embeddings": 64}},
             "f32", rope_scaling={"rope_type": "dynamic", "factor": 2.0}, max_position_embeddings=16, **wide),
        case("yarn", "wide", (10, 40), {"default rope": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
                                        "yarn without its factor on cos and sin": None, "yarn factor on queries only": None,
                                        "L0 ignored": {"rope_parameters": {**YARN, "original_max_position_embeddings": 128}},
                                        "factor from the lengths": {"rope_parameters": {**YARN, "factor": 2.0}}},
             "f32", rope_parameters=YARN, max_position_embeddings=64, **rope),
        case("yarn_all_keys", "wide", (40,), {"truncated": {"rope_parameters": {**ODD_YARN, "truncate": True}},
                                              "mscale left out": {"rope_parameters": {**ODD_YARN, "mscale": None}},
                                              "betas left out": {"rope_parameters": {**ODD_YARN, "beta_fast": None, "beta_slow": None}}},
             "f32", rope_parameters=ODD_YARN, **rope),
        case("yarn_attention_factor", "wide", (40,), {"factor computed": {"rope_parameters": YARN}}, "f32",
             rope_parameters={**YARN, "attention_factor": 0.6, "mscale": 0.7}, **rope),
        case("llama3", "wide", (10, 40), {"default rope": {"rope_scaling": None}, "linear": {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}},
             "f32", rope_scaling=LLAMA3, **wide),
        case("longrope", "wide", (10, 16, 17, 40), {"default rope": {"rope_scaling": None},
                                                    "always short": {"rope_scaling": {**LONG, "long_factor": LONG["short_factor"]}},
                                                    "factor 4 not from the lengths": {"rope_scaling": {**LONG, "factor": 4.0}}},
             "f32", rope_scaling=LONG, **wide),
        case("longrope_factors", "wide", (10, 40), {"attention factor computed": {"rope_scaling": {**LONG, "factor": 4.0}}}, "f32",
             rope_scaling={**LONG, "factor": 4.0, "attention_factor": 1.2}, **wide),
        case("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        case("sharded", "sharded", (10,), layout="sharded"),
        case("unaligned", "unaligned", (10,), storage="f32", layout="unaligned"),
    ], 100)


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    experts, head_dim = rng.choice([2, 3, 5, 8, 33]), rng.choice([2, 4, 6, 8, 10, 16])
    return reference.random_case_of("mixtral", number, rng, config(**{
        **random_sizes(rng), "hidden_size": rng.choice([16, 24, 36]), "head_dim": head_dim,
        "intermediate_size": rng.choice([1, 7, 24, 40]), "sliding_window": rng.choice([None, 1, 3, 7, ...]),
        "num_local_experts": experts, "num_experts_per_tok": rng.randint(1, min(8, experts)), "rope_scaling": random_rope(rng, head_dim)}))
