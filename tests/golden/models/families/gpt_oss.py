"""GPT-OSS: tensors (unquantised, and packed as MXFP4), cases and mistakes. Reference: transformers, which gets unquantised experts;
MXFP4 is decoded here, number by number, apart from FARE's decoder and from transformers' (with which it was compared once: equal)."""

import contextlib
import importlib
import json

import torch

import reference
from reference import Draw, random_rope, random_sizes

NUMBERS = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0]
YARN = {"rope_type": "yarn", "factor": 8.0, "beta_fast": 8.0, "beta_slow": 1.0, "truncate": False, "original_max_position_embeddings": 64}


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key."""
    return reference.merged({
        "architectures": ["GptOssForCausalLM"], "model_type": "gpt_oss", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16,
        "max_position_embeddings": 512, "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 4,
        "num_experts_per_tok": 2, "num_local_experts": 4, "tie_word_embeddings": False, "eos_token_id": 2, "swiglu_limit": 7.0,
    }, changes)


def matrices(c):
    """(name, rows, columns) of the experts' matrices of a layer."""
    return (("gate_up_proj", 2 * c["intermediate_size"], c["hidden_size"]), ("down_proj", c["hidden_size"], c["intermediate_size"]))


def packed(case):
    """{name: (blocks, scales)} of an MXFP4 case: values that look normal, some scales at their ends, halves of value -0."""
    c, generator, out = case["config"], torch.Generator().manual_seed(case["seed"] + 77), {}
    experts = c.get("num_local_experts") or c["num_experts"]
    for l in range(c["num_hidden_layers"]):
        for name, rows, columns in matrices(c):
            shape = (experts, rows, columns // 32)
            blocks = torch.randint(0, 256, (*shape, 16), generator=generator, dtype=torch.uint8)
            # The numbers' root mean square is 2.8.
            scales = torch.full(shape, 127, dtype=torch.uint8) - torch.randint(3, 5, shape, generator=generator, dtype=torch.uint8)
            scales[0, 0, 0], scales[0, 1, 0], scales[1, 2, 0] = 0, 127, 254
            blocks[1, 2, 0] &= 0x88  # all 0 and -0, whatever the scale
            blocks[0, 3, 0, 5] = 0x81
            out[f"model.layers.{l}.mlp.experts.{name}"] = (blocks, scales)
    return out


def decoded(blocks, scales):
    """[E, rows, columns / 32, 16] and [E, rows, columns / 32] -> float32 [E, rows, columns]."""
    numbers = torch.tensor(NUMBERS, dtype=torch.float64)
    low, high = numbers[(blocks % 16).long()], numbers[(blocks // 16).long()]
    values = torch.stack([low, high], -1).flatten(-2) * 2.0 ** (scales.double() - 127).unsqueeze(-1)
    return values.flatten(-2).float()


def tensors(case):
    draw, c, special = Draw(case), case["config"], case["special"]
    experts = c.get("num_local_experts") or c["num_experts"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        draw.norms(layer)
        draw.attention(layer, "qkvo" if c.get("attention_bias", True) else "")
        draw.normal(layer + "self_attn.sinks", draw.heads, scale=1.5)
        if "sinks" in special:
            draw.out[layer + "self_attn.sinks"] = torch.tensor(special["sinks"])
        draw.linear(layer + "mlp.router", experts, draw.hidden, special.get("router_scale", 2.0))
        draw.normal(layer + "mlp.router.bias", experts, scale=special.get("router_bias", 0.7))
        for name, rows, columns in matrices(c):
            draw.normal(layer + f"mlp.experts.{name}", experts, columns, rows, scale=1.3 / columns ** 0.5)
            draw.normal(layer + f"mlp.experts.{name}_bias", experts, rows, scale=0.5)
    draw.head(c.get("tie_word_embeddings"))
    out = draw.finish()
    if "mxfp4" in special:
        out.update({name: decoded(*pair).transpose(1, 2).contiguous() for name, pair in packed(case).items()})
    return out


def stored(tensors, case):
    """The experts as MXFP4 where the case says so."""
    out = dict(tensors)
    if case["special"].get("mxfp4") == "packed":
        for name, (blocks, scales) in packed(case).items():
            del out[name]
            out[name + "_blocks"], out[name + "_scales"] = blocks, scales
    return out


def load(folder):
    path = folder / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "quantization_config"}))
    return reference.load(folder)


def run(model, ids):
    """Experts are chosen by their logits."""
    out = reference.run(model, ids)
    for name in [name for name in out if name.startswith("router_logits.")]:
        best, k = out[name].sort(-1, descending=True).values, model.config.num_experts_per_tok
        out[name.replace("router_logits", "gap")] = best[:, k - 1] - best[:, k] if k < best.shape[1] else torch.ones(len(ids))
    return out


# --- mistakes ---------------------------------------------------------------------------------------------------------

def interleaved_rope(q, k, cos, sin, *_, **__):
    turn = lambda x: torch.stack([x[..., 0::2] * cos.unsqueeze(1) - x[..., 1::2] * sin.unsqueeze(1),  # noqa: E731
                                  x[..., 1::2] * cos.unsqueeze(1) + x[..., 0::2] * sin.unsqueeze(1)], -1).flatten(-2)
    return turn(q), turn(k)


def activation(how, limit, alpha):
    def act(pairs):
        gate, up = pairs[..., ::2], pairs[..., 1::2]
        if how == "gate and up in halves":
            gate, up = pairs.chunk(2, -1)
        if how == "gate and up swapped":
            gate, up = up, gate
        if how != "gate not clamped":
            gate = gate.clamp(min=-limit if how == "gate clamped below too" else None, max=limit)
        if how != "up not clamped":
            up = up.clamp(min=None if how == "up not clamped below" else -limit, max=limit)
        return gate * torch.sigmoid(gate * (1.0 if how == "alpha 1" else alpha)) * (up if how == "up without its one" else up + 1)
    return act


def bias_outside(experts):
    """The down bias added once per chosen expert, not multiplied by its weight."""
    forward = type(experts).forward
    bias = experts.down_proj_bias.data

    def wrong(x, ids, weights):
        return forward(experts, x, ids, weights) + (bias[ids] * (1 - weights).unsqueeze(-1)).sum(1)
    return wrong


def router_of(router, how):
    def forward(x):
        logits = torch.nn.functional.linear(x, router.weight, None if how == "no router bias" else router.bias)
        best, ids = logits.topk(router.top_k, dim=-1)
        weights = logits.softmax(-1).gather(1, ids) if how == "weights not divided by their sum" else best.softmax(-1)
        if how == "one expert fewer":
            weights = torch.cat([weights[:, :-1], torch.zeros_like(weights[:, -1:])], 1)
        if how == "router bias for the choice only":
            weights = (logits - router.bias).gather(1, ids).softmax(-1)
        return logits, weights, ids
    return forward


@contextlib.contextmanager
def mistake(model, how):
    module, layers = importlib.import_module(type(model).__module__), model.model.layers
    if how == "interleaved rope":
        right, module.apply_rotary_pos_emb = module.apply_rotary_pos_emb, interleaved_rope
        try:
            yield model
        finally:
            module.apply_rotary_pos_emb = right
    elif how in ("sinks left out", "sinks scaled", "sinks left out of sliding layers"):
        for layer in layers:
            if how == "sinks scaled":
                layer.self_attn.sinks.data *= layer.self_attn.scaling
            elif how == "sinks left out" or layer.self_attn.sliding_window:
                layer.self_attn.sinks.data.fill_(-1e9)
        yield model
    elif how in ("gate and up in halves", "gate and up swapped", "gate not clamped", "gate clamped below too", "up not clamped",
                 "up not clamped below", "alpha 1", "up without its one"):
        for layer in layers:
            layer.mlp.experts._apply_gate = activation(how, layer.mlp.experts.limit, layer.mlp.experts.alpha)
        yield model
    elif how == "down bias outside the weighted sum":
        for layer in layers:
            layer.mlp.experts.forward = bias_outside(layer.mlp.experts)
        yield model
    elif how in ("no bias on gate and up", "no bias on down"):
        for layer in layers:
            getattr(layer.mlp.experts, "gate_up_proj_bias" if "gate" in how else "down_proj_bias").data.zero_()
        yield model
    elif how in ("no router bias", "weights not divided by their sum", "one expert fewer", "router bias for the choice only"):
        for layer in layers:
            layer.mlp.router.forward = router_of(layer.mlp.router, how)
        yield model
    else:
        with reference.mistake(model, how) as wrong:
            yield wrong


def is_matrix(name):
    return name.endswith("experts.gate_up_proj") or name.endswith("experts.down_proj")


def high_half_first(tensors):
    """Neighbours along the input axis of [E, in, out] change places."""
    return {n: t.unflatten(1, (-1, 2)).flip(2).flatten(1, 2) if is_matrix(n) else t for n, t in tensors.items()}


def scale_off_by_one(tensors):
    return {n: 2 * t if is_matrix(n) else t for n, t in tensors.items()}


MXFP4_MISTAKES = {"high half first": high_half_first, "scale off by one": scale_off_by_one}


def cases():
    case = reference.case_maker("gpt_oss", config)
    bias = {f"no bias on {part}": None for part in "qkvo"}
    common = {how: None for how in (
        "interleaved rope", "no rope on keys", "rope sine reversed", "norm weight plus one", "mean subtracted", "one expert fewer",
        "kv heads dealt in turn", "sinks left out", "sinks scaled", "sinks left out of sliding layers", "gate and up in halves", "gate and up swapped",
        "up without its one", "alpha 1", "no bias on gate and up", "no bias on down", "down bias outside the weighted sum", "no router bias",
        "router bias for the choice only", "weights not divided by their sum", "scale from hidden size", "yarn without its factor on cos and sin")}
    sinks = {"sinks left out": None, "sinks scaled": None}
    wide = {"hidden_size": 64, "intermediate_size": 32}
    mx = {"quantization_config": {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}}
    result = reference.seeded([
        case("gqa", "gqa", (1, 2, 10, 10, 70), {
            **common, **bias, "window + 1": {"sliding_window": 5}, "window - 1": {"sliding_window": 3}, "no window": {"sliding_window": 128},
            "other parity": {"layer_types": ["full_attention", "sliding_attention"]}, "default rope": {"rope_scaling": {"rope_type": "default"}}}),
        case("sinks", "sinks", (1, 2, 10), {**sinks, "window + 1": {"sliding_window": 4}}, "f32", special={"sinks": [25.0, 0.0, -40.0, 3.0]}, sliding_window=3),
        case("sinks_shut", "shut", (2, 10), {**sinks, "no bias on o": None}, special={"sinks": [60.0, 60.0, 60.0, 60.0]}),
        case("layer_types", "three", (2, 10), {"other parity": {"layer_types": ["full_attention", "sliding_attention", "full_attention"]}, "of the class": {"layer_types": None},
                                              "window + 1": {"sliding_window": 3}}, num_hidden_layers=3, sliding_window=2,
             layer_types=["sliding_attention", "sliding_attention", "full_attention"]),
        case("all_full", "gqa", (10,), {"of the class": {"layer_types": None}}, layer_types=["full_attention"] * 2),
        case("window_of_the_class", "gqa", (10, 140), {"window - 1": {"sliding_window": 127}, "no window": {"sliding_window": 4096}}, sliding_window=...),
        case("clamps", "gqa", (2, 10), {"gate not clamped": None, "up not clamped": None, "up not clamped below": None, "gate clamped below too": None,
                                        "limit of the class": {"swiglu_limit": 7.0}}, swiglu_limit=0.6),
        case("limit_of_the_class", "gqa", (10,), {"limit 1": {"swiglu_limit": 1.0}, "alpha 1": None}, swiglu_limit=...),
        case("alpha", "gqa", (10,), {"alpha of the class": {"swiglu_alpha": 1.702}, "alpha 1": None}, swiglu_alpha=0.4),
        case("router_bias", "router", (2, 10), {"no router bias": None, "router bias for the choice only": None}, "f32", special={"router_bias": 3.0, "router_scale": 1.0},
             num_local_experts=6, num_experts_per_tok=3),
        case("far_apart", "apart", (2, 10), {"no bias on down": None, "one expert fewer": None, "down bias outside the weighted sum": None}, special={"router_scale": 9.0}, num_local_experts=5,
             num_experts_per_tok=3),
        case("top1", "gqa", (2, 10), {"weights not divided by their sum": None, "no router bias": None}, num_experts_per_tok=1),
        case("every_expert", "gqa", (10,), {"one expert fewer": None}, num_experts_per_tok=4, num_local_experts=..., num_experts=4),
        case("no_bias", "no_bias", (2, 10), {"sinks left out": None}, "f16", attention_bias=False, num_key_value_heads=4, head_dim=6),
        case("rope_of_the_class", "gqa", (10, 70), {"theta 10000": {"rope_theta": 10000.0}, "default rope": {"rope_scaling": {"rope_type": "default"}}}, rope_theta=..., rope_scaling=None),
        case("yarn", "gqa", (10, 70), {"truncated": {"rope_scaling": {**YARN, "truncate": True}}, "yarn without its factor on cos and sin": None,
                                       "of the class": {"rope_scaling": None}}, rope_scaling=YARN, rope_theta=100.0),
        case("new_rope", "gqa", (10,), {"of the class": {"rope_parameters": None}}, rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
        case("tied", "tied", (10,), {"sinks left out": None}, tie_word_embeddings=True, num_key_value_heads=1),
        case("mxfp4", "mxfp4", (1, 2, 10), {**MXFP4_MISTAKES, "gate and up in halves": None, "no bias on down": None}, special={"mxfp4": "packed"}, **wide, **mx),
        case("mxfp4_unpacked", "mxfp4_unpacked", (1, 2, 10), MXFP4_MISTAKES, special={"mxfp4": "unpacked"}, storage="f32", **wide),
        case("mxfp4_unannounced", "mxfp4_shards", (2, 10), MXFP4_MISTAKES, special={"mxfp4": "packed"}, layout="sharded", **wide),
        case("mxfp4_unaligned", "mxfp4_unaligned", (2, 10), MXFP4_MISTAKES, special={"mxfp4": "packed"}, layout="unaligned", num_local_experts=2, **wide, **mx),
        case("sharded", "sharded", (10,), layout="sharded", storage="f16"),
        case("unaligned", "unaligned", (10,), layout="unaligned", storage="f32"),
    ], 300)
    for one in result:  # the same values packed and unpacked
        if one["name"] == "gpt_oss_mxfp4_unpacked":
            one["seed"] = next(other["seed"] for other in result if other["name"] == "gpt_oss_mxfp4")
    return result


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, experts, head_dim = random_sizes(rng), rng.choice([2, 3, 5, 8]), rng.choice([2, 4, 6, 8, 16])
    layers = sizes["num_hidden_layers"]
    mxfp4 = rng.choice([None, "packed", "unpacked"])
    width = rng.choice([32, 64, 96] if mxfp4 else [1, 7, 24, 40])
    case = reference.random_case_of("gpt_oss", number, rng, config(**{
        **sizes, "head_dim": head_dim, "hidden_size": rng.choice([32, 64] if mxfp4 else [16, 24, 36]), "intermediate_size": width,
        "hidden_act": "silu", "attention_bias": rng.choice([True, False, ...]), "sliding_window": rng.choice([1, 2, 3, 7, 100]),
        "layer_types": rng.choice([..., None, [rng.choice(["sliding_attention", "full_attention"]) for _ in range(layers)]]),
        "swiglu_limit": rng.choice([0.3, 1.0, 7.0, ...]), "swiglu_alpha": rng.choice([..., 0.5, 1.702]), "num_local_experts": experts,
        "num_experts_per_tok": rng.randint(1, experts), "rope_scaling": rng.choice([..., random_rope(rng, head_dim)]),
        "max_position_embeddings": 128}))
    if mxfp4:
        case["special"] = {"mxfp4": mxfp4}
        case["storage"] = rng.choice(["bf16", "f32"])  # the extremes of MXFP4 do not fit into float16
    return case
