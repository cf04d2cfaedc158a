"""HunYuan-MoE V1: tensors, cases and mistakes. Reference: transformers."""

import contextlib
import importlib

import torch

import reference
from reference import COMMON, Draw, random_rope, random_sizes

ALPHA = {"type": "dynamic", "alpha": 20.0, "factor": 1.0}


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key."""
    return reference.merged({
        "architectures": ["HunYuanMoEV1ForCausalLM"], "model_type": "hunyuan_v1_moe", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "max_position_embeddings": 128, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "moe_topk": 2, "num_experts": 4,
        "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    }, changes)


def tensors(case):
    draw, c = Draw(case), case["config"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        draw.norms(layer)
        draw.attention(layer, "qkvo" if c.get("attention_bias") else "")
        for name in ("query", "key"):
            draw.norm(layer + f"self_attn.{name}_layernorm", draw.head_dim, 0.5, 2.2)
        draw.moe(layer + "mlp.", c.get("num_experts") or c["num_local_experts"], c["intermediate_size"])
        draw.out[layer + "mlp.gate.wg.weight"] = draw.out.pop(layer + "mlp.gate.weight")
        draw.mlp(layer + "mlp.shared_mlp.", c["intermediate_size"])
    draw.head(c.get("tie_word_embeddings"))
    return draw.finish()


def fused(tensors, config):
    return reference.fuse_experts(tensors)




def router_of(gate, how):
    def forward(x):
        logits = gate.wg(x)
        weights, ids = logits.softmax(-1).topk(gate.top_k, dim=-1)
        if how == "one expert fewer":
            weights = torch.cat([weights[:, :-1], torch.zeros_like(weights[:, -1:])], 1)
        return logits, weights if how == "weights not divided by their sum" else weights / weights.sum(-1, keepdim=True), ids
    return forward


@contextlib.contextmanager
def mistake(model, how):
    module, layers = importlib.import_module(type(model).__module__), model.model.layers
    if how == "norm before rope":
        for layer in layers:
            attention = layer.self_attn
            for name in ("q", "k"):
                norm, projection = getattr(attention, {"q": "query", "k": "key"}[name] + "_layernorm"), getattr(attention, name + "_proj")
                right = norm.forward
                projection.forward = lambda x, f=projection.forward, n=right, d=attention.head_dim: n(f(x).unflatten(-1, (-1, d))).flatten(-2)
                norm.forward = lambda x: x
        yield model
    elif how == "no q and k norm":
        for layer in layers:
            layer.self_attn.query_layernorm.forward = layer.self_attn.key_layernorm.forward = lambda x: x
        yield model
    elif how == "shared MLP left out":
        for layer in layers:
            layer.mlp.shared_mlp.down_proj.weight.data.zero_()
        yield model
    elif how in ("one expert fewer", "weights not divided by their sum"):
        for layer in layers:
            layer.mlp.gate.forward = router_of(layer.mlp.gate, how)
        yield model
    else:
        with reference.mistake(model, how) as wrong:
            yield wrong


def cases():
    case = reference.case_maker("hunyuan_v1_moe", config)
    own = {how: None for how in ("norm before rope", "no q and k norm", "shared MLP left out", "weights not divided by their sum", "kv heads dealt in turn")}
    result = reference.seeded([
        case("gqa", "gqa", (1, 2, 10, 10, 70), {**COMMON, **own, "scale from hidden size": None, "theta 1e6": {"rope_theta": 1e6}}),
        case("topk_list", "gqa", (2, 10), {"one expert fewer": None}, moe_topk=[3, 3]),
        case("aliases_tied", "tied", (10,), {"norm before rope": None}, moe_topk=..., num_experts=..., num_local_experts=5, num_experts_per_tok=2, tie_word_embeddings=True),
        case("mha_bias", "bias", (2, 10), {f"no bias on {part}": None for part in "qkvo"}, "f32", attention_bias=True, num_key_value_heads=None),
        case("alpha", "gqa", (10, 70), {"alpha ignored": {"rope_scaling": None}, "norm before rope": None}, rope_scaling=ALPHA),
        case("dynamic", "gqa", (10, 40), {"default rope": {"rope_scaling": None}}, rope_scaling={"type": "dynamic", "factor": 2.0}, max_position_embeddings=16),
        case("linear_new_rope", "gqa", (10,), {"default rope": {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}}, rope_theta=...,
             rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 500.0}),
        case("top1_mqa", "mqa", (2, 10), {"weights not divided by their sum": None}, "f16", moe_topk=1, num_key_value_heads=1, head_dim=6),
        case("every_expert", "gqa", (10,), {"one expert fewer": None}, moe_topk=4),
        case("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        case("sharded", "sharded", (10,), layout="sharded"),
        case("unaligned", "unaligned", (10,), layout="unaligned"),
    ], 500)
    return result


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, experts, head_dim = random_sizes(rng), rng.choice([2, 3, 5, 8, 33]), rng.choice([4, 6, 8, 16])
    k = rng.randint(1, min(8, experts))
    return reference.random_case_of("hunyuan_v1_moe", number, rng, config(**{
        **sizes, "hidden_size": rng.choice([16, 24, 36]), "head_dim": head_dim, "intermediate_size": rng.choice([1, 7, 24]),
        "attention_bias": rng.choice([True, False, ...]), "num_experts": experts, "moe_topk": rng.choice([k, [k] * sizes["num_hidden_layers"]]),
        "rope_scaling": rng.choice([ALPHA, random_rope(rng, head_dim)])}))
