"""ERNIE-4.5-MoE: tensors, cases and mistakes. Reference: transformers (biases of single experts, which it does not have, are tested
in fare/models/ernie4_5_moe_test.cpp)."""

import contextlib
import importlib
import json

import torch

import reference
from reference import COMMON, Draw, random_rope, random_sizes


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key."""
    return reference.merged({
        "architectures": ["Ernie4_5_MoeForCausalLM"], "model_type": "ernie4_5_moe", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 40, "moe_intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
        "max_position_embeddings": 128, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "moe_k": 2, "moe_num_experts": 4,
        "moe_num_shared_experts": 2, "moe_layer_start_index": 1, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    }, changes)


def first_and_last(c):
    """Start and end of the MoE layers as plain numbers."""
    start, end = c.get("moe_layer_start_index", 1), c.get("moe_layer_end_index", -1)
    start = min(start) if isinstance(start, list) else start
    end = max(end) if isinstance(end, list) else end
    return start, c["num_hidden_layers"] - 1 if end in (None, -1) else end


def is_moe(c, layer):
    start, end = first_and_last(c)
    return (layer + 1) % c.get("moe_layer_interval", 1) == 0 and start <= layer <= end


def tensors(case):
    draw, c, special = Draw(case), case["config"], case["special"]
    biased, experts = c.get("use_bias"), c.get("moe_num_experts") or c["num_experts"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        draw.norms(layer)
        draw.attention(layer, "qkvo" if biased else "")
        if not is_moe(c, l):
            draw.mlp(layer + "mlp.", c["intermediate_size"], bias=0.4 if biased else None)
            continue
        draw.moe(layer + "mlp.", experts, c["moe_intermediate_size"])
        correction = torch.randn(1, experts, generator=draw.generator) * special.get("correction", 0.3)
        if "no_correction" not in special:
            draw.out[layer + "mlp.moe_statics.e_score_correction_bias"] = correction
        shared = c.get("moe_num_shared_experts", 2)
        if shared:
            draw.mlp(layer + "mlp.shared_experts.", shared * c["moe_intermediate_size"], bias=0.4 if biased else None)
    draw.head(c.get("tie_word_embeddings", True))
    if biased:
        draw.normal("lm_head.bias", c["vocab_size"], scale=0.5)
    return draw.finish()


def fused(tensors, config):
    return reference.fuse_experts(tensors)


def stored(tensors, case):
    """With tensors of further-token prediction, which nothing reads."""
    if "mtp" not in case["special"]:
        return tensors
    extra = {f"model.mtp_{name}": torch.full((2, 3), float("nan")) for name in (
        "block.0.self_attn.q_proj.weight", "emb_norm.0.weight", "hidden_norm.0.weight", "linear_proj.0.weight")}
    return {**tensors, **extra}


def load(folder):
    """The reference takes no lists and no null here."""
    path = folder / "config.json"
    c = json.loads(path.read_text())
    c["moe_layer_start_index"], c["moe_layer_end_index"] = first_and_last(c)
    path.write_text(json.dumps(c))
    return reference.load(folder)


def run(model, ids):
    """Experts are chosen by score plus correction bias."""
    out = reference.run(model, ids)
    for l, layer in enumerate(model.model.layers):
        if f"ids.{l}" in out:
            select = layer.mlp.gate.moe_statics(out[f"router_logits.{l}"].softmax(-1))
            best, k = select.sort(-1, descending=True).values, layer.mlp.top_k
            out[f"gap.{l}"] = best[:, k - 1] - best[:, k] if k < best.shape[1] else torch.ones(len(ids))
    return out


# --- mistakes ---------------------------------------------------------------------------------------------------------

def half_split_rope(q, k, cos, sin, *_, **__):
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)  # both halves are there
    half = lambda x: torch.cat([-x[..., x.shape[-1] // 2:], x[..., :x.shape[-1] // 2]], -1)  # noqa: E731
    return q * cos + half(q) * sin, k * cos + half(k) * sin


def router_of(router, how):
    def forward(x):
        logits = torch.nn.functional.linear(x, router.weight)
        scores = logits.softmax(-1)
        select = scores if how == "correction bias ignored" else router.moe_statics(logits if how == "correction bias on the logits" else scores)
        ids = select.topk(router.top_k, dim=-1).indices
        weights = (select if how == "correction bias in the weights" else scores).gather(1, ids)
        if how == "one expert fewer":
            weights = torch.cat([weights[:, :-1], torch.zeros_like(weights[:, -1:])], 1)
        if how != "weights not divided by their sum":
            weights = weights / weights.sum(-1, keepdim=True).clamp(min=router.norm_min)
        return logits, weights, ids
    return forward


@contextlib.contextmanager
def mistake(model, how):
    module, blocks = importlib.import_module(type(model).__module__), [l.mlp for l in model.model.layers if hasattr(l.mlp, "experts")]
    if how == "half-split rope":
        right, module.apply_rotary_pos_emb = module.apply_rotary_pos_emb, half_split_rope
        try:
            yield model
        finally:
            module.apply_rotary_pos_emb = right
    elif how in ("correction bias ignored", "correction bias in the weights", "correction bias on the logits", "one expert fewer",
                 "weights not divided by their sum"):
        for block in blocks:
            block.gate.forward = router_of(block.gate, how)
        yield model
    elif how == "shared experts left out":
        for block in blocks:
            block.shared_experts.down_proj.weight.data.zero_()
        yield model
    elif how == "lm_head.bias left out":
        model.lm_head.bias.data.zero_()
        yield model
    elif how in ("no bias on shared experts", "no bias on dense layers"):
        for layer in model.model.layers:
            mlp = getattr(layer.mlp, "shared_experts", None) if "shared" in how else layer.mlp if hasattr(layer.mlp, "gate_proj") else None
            for part in ("gate_proj", "up_proj", "down_proj") if mlp is not None else ():
                getattr(mlp, part).bias.data.zero_()
        yield model
    else:
        with reference.mistake(model, how) as wrong:
            yield wrong


def cases():
    case = reference.case_maker("ernie4_5_moe", config)
    common = {how: None for how in COMMON if how != "interleaved rope"}
    choice = {how: None for how in ("correction bias ignored", "correction bias in the weights", "correction bias on the logits")}
    bias = {how: None for how in (*(f"no bias on {part}" for part in "qkvo"), "no bias on shared experts", "no bias on dense layers", "lm_head.bias left out")}
    four = {"num_hidden_layers": 4}
    result = reference.seeded([
        case("gqa", "gqa", (1, 2, 10, 10, 70), {**common, **choice, "half-split rope": None, "weights not divided by their sum": None, "shared experts left out": None,
                                                "kv heads dealt in turn": None, "theta of the class": {"rope_theta": 500000.0}}),
        case("tied", "tied", (2, 10), {"half-split rope": None, "shared experts left out": None}, tie_word_embeddings=...),
        case("theta_of_the_class", "gqa", (10, 70), {"theta 10000": {"rope_theta": 10000.0}}, rope_theta=...),
        case("use_bias", "bias", (2, 10), bias, "f32", use_bias=True),
        case("use_bias_tied", "bias_tied", (10,), {"lm_head.bias left out": None}, use_bias=True, tie_word_embeddings=True),
        case("no_correction", "no_correction", (2, 10), {"one expert fewer": None}, special={"no_correction": True}),
        case("correction_decides", "correction", (2, 10), choice, special={"correction": 3.0}, moe_num_experts=6, moe_k=3),
        case("norm_min", "gqa", (2, 10), {"moe_norm_min ignored": {"moe_norm_min": 1e-12}, "weights not divided by their sum": None}, moe_norm_min=0.8),
        case("interval", "interval", (2, 10), {"one expert fewer": None}, moe_layer_interval=2, **four),
        case("start_and_end", "start_end", (2, 10), {"one expert fewer": None}, moe_layer_start_index=0, moe_layer_end_index=2, **four),
        case("start_3", "start_3", (10,), {"one expert fewer": None}, moe_layer_start_index=3, moe_layer_end_index=-1, **four),
        case("lists", "lists", (10,), {"one expert fewer": None}, moe_layer_start_index=[2, 1], moe_layer_end_index=[2, 3], num_hidden_layers=5),
        case("end_null", "gqa", (10,), {"one expert fewer": None}, moe_layer_end_index=None),
        case("no_shared", "no_shared", (2, 10), {"one expert fewer": None}, moe_num_shared_experts=0),
        case("one_shared", "one_shared", (2, 10), {"shared experts left out": None}, "f16", moe_num_shared_experts=1, num_key_value_heads=4),
        case("aliases_new_rope", "gqa", (10,), {"theta of the class": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}}, moe_num_experts=..., num_experts=4, moe_k=...,
             num_experts_per_tok=2, rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
        case("head_dim_mqa", "head_dim", (2, 10), {"half-split rope": None, "scale from hidden size": None}, head_dim=16, num_key_value_heads=1),
        case("every_expert", "gqa", (10,), {"one expert fewer": None}, moe_k=4),
        case("top1", "gqa", (10,), {"weights not divided by their sum": None, "correction bias ignored": None}, moe_k=1),
        case("yarn", "gqa", (10, 40), {"default rope": {"rope_scaling": None}}, rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}),
        case("mtp_vendor_keys", "mtp", (10,), {"one expert fewer": None}, special={"mtp": True}, moe_gate_act="softmax", moe_capacity=[64, 64, 64], num_nextn_predict_layers=1),
        case("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        case("sharded", "sharded", (10,), layout="sharded"),
        case("unaligned", "unaligned", (10,), layout="unaligned"),
    ], 400)
    for one in result:
        one["types"] = {"mlp.gate.weight": "f32", "e_score_correction_bias": "f32"}
    return result


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, experts, head_dim = random_sizes(rng), rng.choice([2, 3, 5, 8, 33]), rng.choice([2, 4, 6, 8, 16])
    layers = sizes["num_hidden_layers"]
    case = reference.random_case_of("ernie4_5_moe", number, rng, config(**{
        **sizes, "hidden_size": rng.choice([16, 24, 36]), "head_dim": head_dim, "intermediate_size": rng.choice([5, 40]),
        "moe_intermediate_size": rng.choice([1, 7, 24]), "moe_num_shared_experts": rng.choice([0, 1, 2, 3, ...]), "use_bias": rng.choice([True, False, ...]),
        "moe_layer_start_index": rng.choice([0, 1, [1, 0], ...]), "moe_layer_end_index": rng.choice([-1, None, layers - 1, [0, layers - 1], ...]),
        "moe_layer_interval": rng.choice([1, 2, ...]), "moe_norm_min": rng.choice([1e-12, 0.5, 1.5, ...]), "moe_num_experts": experts,
        "moe_k": rng.randint(1, min(8, experts)), "rope_scaling": random_rope(rng, head_dim)}))
    case["types"] = {"mlp.gate.weight": "f32", "e_score_correction_bias": "f32"}
    return case
