"""Plausible mistakes that several families could share, made in the reference on purpose."""

import contextlib
import importlib
import math

import torch


def interleaved_rope(q, k, cos, sin, *_, **__):
    half = cos.shape[-1] // 2
    cos, sin = cos[..., :half].unsqueeze(1), sin[..., :half].unsqueeze(1)

    def turn(x):
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
    return turn(q), turn(k)


def router_forward(router, score):
    """A router's forward with other weights: score(logits, k) -> weights, ids."""
    def forward(x):
        logits = torch.nn.functional.linear(x.reshape(-1, router.hidden_dim), router.weight)
        weights, ids = score(logits, router.top_k)
        return logits, weights, ids
    return forward


def raw_weights(logits, k):
    return torch.topk(logits.softmax(-1), k, dim=-1)


def renormalised(logits, k):
    weights, ids = raw_weights(logits, k)
    return weights / weights.sum(-1, keepdim=True), ids


def one_expert_fewer(logits, k):
    weights, ids = raw_weights(logits, k)
    weights = weights.clone()
    weights[:, -1] = 0
    return weights, ids


def norms_of(model):
    return [m for m in model.modules() if hasattr(m, "variance_epsilon")]


def moe_blocks(model):
    return [layer.mlp for layer in model.model.layers if hasattr(layer.mlp, "experts")]


@contextlib.contextmanager
def mistake(model, how):
    """`model`, which may be changed, with one mistake for as long as the context lasts."""
    module = importlib.import_module(type(model).__module__)
    saved = {name: getattr(module, name) for name in ("apply_rotary_pos_emb", "repeat_kv") if hasattr(module, name)}
    layers, config = model.model.layers, model.config

    if how == "interleaved rope":
        module.apply_rotary_pos_emb = interleaved_rope
    elif how == "no rope on keys":
        module.apply_rotary_pos_emb = lambda q, k, cos, sin, *a, **b: (saved["apply_rotary_pos_emb"](q, k, cos, sin)[0], k)
    elif how == "rope sine reversed":
        module.apply_rotary_pos_emb = lambda q, k, cos, sin, *a, **b: (
            saved["apply_rotary_pos_emb"](q, k, cos, -sin)[0], saved["apply_rotary_pos_emb"](q, k, cos, sin)[1])
    elif how == "kv heads dealt in turn":
        module.repeat_kv = lambda x, n: x.repeat(1, n, 1, 1)
    elif how == "scale from hidden size":
        for layer in layers:
            layer.self_attn.scaling = (config.hidden_size // config.num_attention_heads) ** -0.5
    elif how == "gate and up swapped":
        for block in moe_blocks(model):
            gate, up = block.experts.gate_up_proj.data.chunk(2, dim=1)
            block.experts.gate_up_proj.data = torch.cat([up, gate], 1)
    elif how in ("weights not divided by their sum", "weights divided by their sum", "one expert fewer"):
        score = {"weights not divided by their sum": raw_weights, "weights divided by their sum": renormalised,
                 "one expert fewer": one_expert_fewer}[how]
        for block in moe_blocks(model):
            block.gate.forward = router_forward(block.gate, score)
    elif how == "no q and k norm":
        for layer in layers:
            for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
                norm.forward = lambda x: x
    elif how == "eps 1e-6":
        for norm in norms_of(model):
            norm.variance_epsilon = 1e-6
    elif how == "eps outside the root":
        for norm in norms_of(model):
            norm.forward = lambda x, n=norm: n.weight * x / (x.pow(2).mean(-1, keepdim=True).sqrt() + n.variance_epsilon)
    elif how == "norm weight plus one":
        for norm in norms_of(model):
            norm.weight.data += 1
    elif how == "mean subtracted":
        for norm in norms_of(model):
            norm.forward = lambda x, f=norm.forward: f(x - x.mean(-1, keepdim=True))
    elif how.startswith("no bias on "):
        for layer in layers:
            getattr(layer.self_attn, how.removeprefix("no bias on ") + "_proj").bias.data.zero_()
    elif how == "yarn without its factor on cos and sin":
        model.model.rotary_emb.attention_scaling = 1.0
    elif how == "yarn factor on queries only":
        model.model.rotary_emb.attention_scaling = math.sqrt(model.model.rotary_emb.attention_scaling)
    else:
        raise ValueError(how)
    try:
        yield model
    finally:
        for name, value in saved.items():
            setattr(module, name, value)
