"""Qwen2-MoE (Qwen1.5-MoE): tensors, cases and mistakes. Reference: transformers."""

import contextlib

import torch

import reference
from reference import COMMON, Draw, random_rope, random_sizes


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key. The three MLP widths differ."""
    return reference.merged({
        "architectures": ["Qwen2MoeForCausalLM"], "model_type": "qwen2_moe", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 28, "moe_intermediate_size": 16, "shared_expert_intermediate_size": 20, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": False,
        "decoder_sparse_step": 1, "use_sliding_window": False, "tie_word_embeddings": False,
    }, changes)


def is_moe(config, layer):
    return bool(config.get("num_experts") or config.get("num_local_experts")) and layer not in (config.get("mlp_only_layers") or []) \
        and (layer + 1) % config.get("decoder_sparse_step", 1) == 0


def tensors(case):
    draw, c = Draw(case), case["config"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        draw.norms(layer)
        draw.attention(layer, "qkv" if c.get("qkv_bias", True) else "")
        if not is_moe(c, l):
            draw.mlp(layer + "mlp.", c["intermediate_size"])
            continue
        draw.moe(layer + "mlp.", c["num_experts"], c["moe_intermediate_size"])
        draw.mlp(layer + "mlp.shared_expert.", c["shared_expert_intermediate_size"])
        draw.linear(layer + "mlp.shared_expert_gate", 1, draw.hidden, 2.0)
    draw.head(c.get("tie_word_embeddings"))
    out = draw.finish()
    if "saturated" in case["special"]:  # dimension 0 of the residual stream is large everywhere and the shared gates read only it
        out["model.embed_tokens.weight"][:, 0] = 12.0
        for l, value in enumerate(case["special"]["saturated"]):
            gate = out[f"model.layers.{l}.mlp.shared_expert_gate.weight"]
            gate.zero_()
            gate[0, 0] = value
    return out


def fused(tensors, config):
    return reference.fuse_experts(tensors)


@contextlib.contextmanager
def mistake(model, how):
    gates = [layer.mlp.shared_expert_gate for layer in model.model.layers if hasattr(layer.mlp, "shared_expert_gate")]
    if how == "shared expert not gated":
        for gate in gates:
            gate.forward = lambda x: torch.full_like(x[..., :1], 1e4)
    elif how == "shared expert left out":
        for gate in gates:
            gate.forward = lambda x: torch.full_like(x[..., :1], -1e4)
    elif how == "gate without its sigmoid":
        for layer in model.model.layers:
            if hasattr(layer.mlp, "shared_expert_gate"):
                gate, shared = layer.mlp.shared_expert_gate, layer.mlp.shared_expert
                shared.forward = lambda x, f=shared.forward, g=gate.forward: f(x) * g(x)
                gate.forward = lambda x: torch.full_like(x[..., :1], 1e4)
    else:
        with reference.mistake(model, how) as wrong:
            yield wrong
        return
    yield model


def cases():
    case = reference.case_maker("qwen2_moe", config)
    shared = {"shared expert not gated": None, "shared expert left out": None, "gate without its sigmoid": None}
    biases = {f"no bias on {part}": None for part in "qkv"}
    divided, raw = {"weights divided by their sum": None}, {"weights not divided by their sum": None}
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32}
    return reference.seeded([
        case("gqa", "gqa", (1, 2, 10, 10, 70), {**COMMON, **shared, **biases, **divided, "kv heads dealt in turn": None,
                                                "theta 1e6": {"rope_theta": 1e6}}),
        case("bias_true_normalised", "gqa", (2, 10), {**biases, **raw}, qkv_bias=True, norm_topk_prob=True),
        case("mha_no_bias", "mha", (2, 10), {**COMMON, **shared}, "f32", num_key_value_heads=4, qkv_bias=False),
        case("mqa_top1", "mqa", (2, 10), {**divided, **shared}, "f16", num_key_value_heads=1, num_experts_per_tok=1, head_dim=12,
             rms_norm_eps=...),
        case("every_expert", "gqa", (10,), {"one expert fewer": None}, num_experts_per_tok=4),
        case("k4_of_60", "many", (2, 10), {"one expert fewer": None, **divided}, num_experts=60, num_experts_per_tok=4, moe_intermediate_size=4,
             norm_topk_prob=...),
        case("step", "step", (2, 10), {"gate and up swapped": None, **shared}, num_hidden_layers=4, decoder_sparse_step=2),
        case("list", "list", (2, 10), {"gate and up swapped": None, **shared}, num_hidden_layers=3, mlp_only_layers=[0, 2]),
        case("step_and_list", "step_list", (10,), {"gate and up swapped": None, **shared}, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1]),
        case("gate_saturated", "saturated", (2, 10), {"gate without its sigmoid": None, "shared expert not gated": None, "shared expert left out": None},
             special={"saturated": [40.0, -40.0]}),
        case("window_ignored", "gqa", (10,), {"window": {"use_sliding_window": True}}, sliding_window=3),
        case("window_of_5x", "gqa", (10,), {"window": {"use_sliding_window": True, "sliding_window": 3, "layer_types": ["sliding_attention"] * 2}},
             sliding_window=0, layer_types=["full_attention"] * 2, max_window_layers=1, use_sliding_window=...),
        case("theta_and_head_of_the_class", "gqa", (10,), {"theta 1e6": {"rope_theta": 1e6}}, rope_theta=..., tie_word_embeddings=...),
        case("new_rope_tied", "tied", (2, 10), {"theta of the class": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}},
             rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True),
        case("yarn", "mha", (10, 40), {"default rope": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
                                       "yarn without its factor on cos and sin": None}, "f32",
             num_key_value_heads=4, qkv_bias=False, rope_theta=..., rope_parameters=yarn),
        case("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        case("sharded", "sharded", (10,), storage="f16", layout="sharded"),
        case("unaligned", "unaligned", (10,), layout="unaligned"),
    ], 200)


def random_layers(rng, layers):
    """Which layers are dense, by both keys."""
    return {"decoder_sparse_step": rng.choice([1, 1, 2, 3, ...]),
            "mlp_only_layers": rng.choice([..., None, [], [rng.randrange(layers)], [l for l in range(layers) if rng.random() < 0.5]])}


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, experts = random_sizes(rng), rng.choice([2, 3, 5, 8, 33])
    head_dim = rng.choice([2, 4, 6, 8, 10, 16])
    return reference.random_case_of("qwen2_moe", number, rng, config(**{
        **sizes, **random_layers(rng, sizes["num_hidden_layers"]), "hidden_size": rng.choice([16, 24, 36]), "head_dim": head_dim,
        "intermediate_size": rng.choice([1, 7, 24]), "moe_intermediate_size": rng.choice([1, 5, 20]),
        "shared_expert_intermediate_size": rng.choice([1, 9, 40]), "qkv_bias": rng.choice([True, False, ...]),
        "norm_topk_prob": rng.choice([True, False, ...]), "num_experts": experts,
        "num_experts_per_tok": rng.randint(1, min(8, experts)), "rope_scaling": random_rope(rng, head_dim)}))
