"""Qwen3-MoE: tensors, cases and mistakes. Reference: transformers."""

import contextlib

import torch

import reference
from families.qwen2_moe import is_moe, random_layers
from reference import COMMON, Draw, random_rope, random_sizes


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key. Heads are twice as wide as hidden / heads."""
    return reference.merged({
        "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 28, "moe_intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 128, "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0, "attention_bias": False, "num_experts": 4, "num_experts_per_tok": 2, "norm_topk_prob": True,
        "decoder_sparse_step": 1, "mlp_only_layers": [], "use_sliding_window": False, "tie_word_embeddings": False,
    }, changes)


def tensors(case):
    draw, c = Draw(case), case["config"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        draw.norms(layer)
        draw.attention(layer, "qkvo" if c.get("attention_bias") else "")
        draw.norm(layer + "self_attn.q_norm", draw.head_dim, 0.3, 3.0)
        draw.norm(layer + "self_attn.k_norm", draw.head_dim, 0.2, 2.0)
        if is_moe(c, l):
            draw.moe(layer + "mlp.", c.get("num_experts") or c["num_local_experts"], c["moe_intermediate_size"])
        else:
            draw.mlp(layer + "mlp.", c["intermediate_size"])
    draw.head(c.get("tie_word_embeddings"))
    return draw.finish()


def fused(tensors, config):
    return reference.fuse_experts(tensors)


def norm_of_all_heads(module):
    return lambda x: module.weight * x * torch.rsqrt(x.pow(2).mean((-2, -1), keepdim=True) + module.variance_epsilon)


@contextlib.contextmanager
def mistake(model, how):
    attentions = [layer.self_attn for layer in model.model.layers]
    if how == "q and k norm over all heads":
        for norm in [n for a in attentions for n in (a.q_norm, a.k_norm)]:
            norm.forward = norm_of_all_heads(norm)
    elif how == "q and k norm exchanged":
        for a in attentions:
            a.q_norm, a.k_norm = a.k_norm, a.q_norm
    elif how == "values normed too":
        for a in attentions:
            a.v_proj.forward = lambda x, a=a, f=a.v_proj.forward: a.k_norm(f(x).unflatten(-1, (-1, a.head_dim))).flatten(-2)
    else:
        with reference.mistake(model, how) as wrong:
            yield wrong
        return
    yield model


def cases():
    case = reference.case_maker("qwen3_moe", config)
    norms = {"q and k norm over all heads": None, "q and k norm exchanged": None, "no q and k norm": None, "values normed too": None}
    biases = {f"no bias on {part}": None for part in "qkvo"}
    divided, raw = {"weights divided by their sum": None}, {"weights not divided by their sum": None}
    yarn = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}
    return reference.seeded([
        case("gqa", "gqa", (1, 2, 10, 10, 70), {**COMMON, **norms, **raw, "kv heads dealt in turn": None, "scale from hidden size": None,
                                                "theta 1e6": {"rope_theta": 1e6}}),
        case("normalisation_absent", "gqa", (2, 10), {**divided}, norm_topk_prob=...),
        case("head_dim_absent", "narrow", (2, 10), {**COMMON, **norms}, "f32", head_dim=..., num_key_value_heads=4),
        case("bias", "bias", (2, 10), {**biases, **raw}, attention_bias=True),
        case("mqa_top1", "mqa", (2, 10), {**norms, "weights not divided by their sum": None}, "f16", num_key_value_heads=1, num_experts_per_tok=1, head_dim=12,
             rms_norm_eps=...),
        case("every_expert", "gqa", (10,), {"one expert fewer": None}, num_experts_per_tok=4),
        case("k8_of_33", "many", (2, 10), {"one expert fewer": None, **raw}, num_experts=33, num_experts_per_tok=8, moe_intermediate_size=6),
        case("step", "step", (2, 10), {"gate and up swapped": None}, num_hidden_layers=4, decoder_sparse_step=2),
        case("list", "list", (2, 10), {"gate and up swapped": None}, num_hidden_layers=3, mlp_only_layers=[0, 2]),
        case("step_and_list", "step_list", (10,), {"gate and up swapped": None}, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[1]),
        case("no_experts", "dense", (2, 10), {"interleaved rope": None, "q and k norm exchanged": None}, num_experts=0),
        case("window", "gqa", (3, 4, 5, 10), {"window + 1": {"sliding_window": 5}, "window - 1": {"sliding_window": 3},
                                              "no window": {"use_sliding_window": False}}, use_sliding_window=True, sliding_window=4,
             max_window_layers=1),
        case("window_ignored", "gqa", (10,), {"window": {"use_sliding_window": True}}, sliding_window=4, max_window_layers=0),
        case("theta_and_head_of_the_class", "gqa", (10,), {"theta 1e6": {"rope_theta": 1e6}}, rope_theta=..., tie_word_embeddings=...,
             mlp_only_layers=None, use_sliding_window=...),
        case("alias_new_rope_tied", "tied", (2, 10), {"theta of the class": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}},
             num_experts=..., num_local_experts=4, rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0},
             tie_word_embeddings=True),
        # As users add it by hand: the factor is not the ratio of the two lengths.
        case("yarn", "gqa", (10, 60), {"default rope": {"rope_scaling": None}, "yarn without its factor on cos and sin": None,
                                       "factor from the lengths": {"rope_scaling": {**yarn, "factor": 1.25}}},
             rope_scaling=yarn, max_position_embeddings=40),
        case("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        case("sharded", "sharded", (10,), storage="f32", layout="sharded"),
        case("unaligned", "unaligned", (10,), storage="f16", layout="unaligned"),
    ], 220)


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, experts = random_sizes(rng), rng.choice([2, 3, 5, 8, 33])
    head_dim = rng.choice([2, 4, 6, 8, 10, 16])
    return reference.random_case_of("qwen3_moe", number, rng, config(**{
        **sizes, **random_layers(rng, sizes["num_hidden_layers"]), "hidden_size": rng.choice([16, 24, 36]), "head_dim": head_dim,
        "intermediate_size": rng.choice([1, 7, 24]), "moe_intermediate_size": rng.choice([1, 5, 20]),
        "attention_bias": rng.choice([True, False, ...]), "norm_topk_prob": rng.choice([True, False, ...]),
        "use_sliding_window": rng.choice([True, False, ...]), "sliding_window": rng.choice([None, 1, 3, 7, ...]), "num_experts": experts,
        "num_experts_per_tok": rng.randint(1, min(8, experts)), "rope_scaling": random_rope(rng, head_dim)}))
