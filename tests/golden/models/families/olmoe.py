"""OLMoE: tensors, cases and mistakes. Reference: transformers."""

import contextlib

import torch

import reference
from reference import COMMON, Draw, random_rope, random_sizes


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key."""
    return reference.merged({
        "architectures": ["OlmoeForCausalLM"], "model_type": "olmoe", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "num_experts_per_tok": 2, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, "num_experts": 4,
    }, changes)


def tensors(case):
    draw, c = Draw(case), case["config"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        draw.norms(layer)
        draw.attention(layer, "qkvo" if c.get("attention_bias") else "")
        draw.norm(layer + "self_attn.q_norm", draw.heads * draw.head_dim, 0.5, 2.2)
        draw.norm(layer + "self_attn.k_norm", draw.kv_heads * draw.head_dim, 0.5, 2.2)
        draw.moe(layer + "mlp.", c.get("num_experts") or c["num_local_experts"], c["intermediate_size"])
    draw.head(c.get("tie_word_embeddings"))
    return draw.finish()


def fused(tensors, config):
    return reference.fuse_experts(tensors)


def per_head_norm(module, head_dim):
    def forward(x):
        heads = x.unflatten(-1, (-1, head_dim))
        heads = heads * torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
        return module.weight * heads.flatten(-2)
    return forward


@contextlib.contextmanager
def mistake(model, how):
    clip = getattr(model.config, "clip_qkv", None)
    clamp = lambda x: x.clamp(-clip, clip)  # noqa: E731
    if how not in ("per-head q and k norm", "clamp before the norm", "values not clamped"):
        with reference.mistake(model, how) as wrong:
            yield wrong
        return
    for layer in model.model.layers:
        attention = layer.self_attn
        for norm in (attention.q_norm, attention.k_norm):
            if how == "per-head q and k norm":
                norm.forward = per_head_norm(norm, attention.head_dim)
            elif how == "clamp before the norm":
                norm.forward = lambda x, f=norm.forward: f(clamp(x))
            else:
                norm.forward = lambda x, f=norm.forward: clamp(f(x))
        if how == "clamp before the norm":
            attention.v_proj.forward = lambda x, f=attention.v_proj.forward: clamp(f(x))
    if "clamp" in how:
        model.config.clip_qkv = None
    yield model


def cases():
    case = reference.case_maker("olmoe", config)
    bias = {f"no bias on {part}": None for part in "qkvo"}
    norms = {"per-head q and k norm": None, "no q and k norm": None}
    return reference.seeded([
        case("gqa", "gqa", (1, 2, 10, 10, 70), {**COMMON, **norms, "weights divided by their sum": None, "kv heads dealt in turn": None,
                                                "theta 1e6": {"rope_theta": 1e6}}, norm_topk_prob=False),
        case("mha", "mha", (2, 10), {**COMMON, **norms}, "f32", num_key_value_heads=None),
        case("mha_key_absent", "mha", (10,), {}, "f32", num_key_value_heads=...),
        case("mqa", "mqa", (2, 10), {**norms}, "f16", num_key_value_heads=1, num_hidden_layers=3),
        case("clip", "gqa", (2, 10), {"clamp before the norm": None, "values not clamped": None, "no clamp": {"clip_qkv": None},
                                      "clamp 0.5": {"clip_qkv": 0.5}}, clip_qkv=0.4),
        case("clip_null", "gqa", (10,), {"clamp 0.4": {"clip_qkv": 0.4}}, clip_qkv=None),
        case("small_activations", "small", (2, 10), {"eps 1e-6": None, "eps outside the root": None}, rms_norm_eps=..., special={"embedding_scale": 2e-3, "branch_scale": 2e-3}),
        case("bias_normalised", "bias", (2, 10), {**bias, "weights not divided by their sum": None}, attention_bias=True, norm_topk_prob=True),
        case("k8_of_64", "many", (2, 10), {"weights divided by their sum": None, "one expert fewer": None}, num_experts=64,
             num_experts_per_tok=8, intermediate_size=8),
        case("top1", "gqa", (10,), {"weights divided by their sum": None}, num_experts_per_tok=1),
        case("every_expert", "gqa", (10,), {"one expert fewer": None}, num_experts_per_tok=4, norm_topk_prob=True),
        case("alias_new_rope_tied", "tied", (2, 10), {"theta of the class": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}}, num_experts=...,
             num_local_experts=4, rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True),
        case("theta_and_head_of_the_class", "gqa", (10,), {"theta 1e6": {"rope_theta": 1e6}}, rope_theta=..., tie_word_embeddings=...),
        case("yarn", "mha", (10, 40), {"default rope": {"rope_scaling": None}, "yarn without its factor on cos and sin": None}, "f32",
             num_key_value_heads=4, rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
        case("dynamic", "mha", (10, 40), {"default rope": {"rope_scaling": None}}, "f32", num_key_value_heads=4,
             max_position_embeddings=16, rope_scaling={"type": "dynamic", "factor": 2.0}),
        case("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        case("sharded", "sharded", (10,), storage="f16", layout="sharded"),
        case("unaligned", "unaligned", (10,), storage="bf16", layout="unaligned"),
    ], 108)


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, experts = random_sizes(rng), rng.choice([2, 3, 5, 8, 33])
    heads = sizes["num_attention_heads"]
    head_dim = rng.choice([d for d in (2, 4, 8, 16) if d * heads >= 4])
    return reference.random_case_of("olmoe", number, rng, config(**{
        **sizes, "hidden_size": heads * head_dim, "intermediate_size": rng.choice([1, 7, 24, 40]),
        "norm_topk_prob": rng.choice([True, False, ...]), "attention_bias": rng.choice([True, False, ...]),
        "clip_qkv": rng.choice([None, 0.3, 1.0, ...]), "num_experts": experts,
        "num_experts_per_tok": rng.randint(1, min(8, experts)), "rope_scaling": random_rope(rng, head_dim)}))
