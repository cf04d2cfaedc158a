"""DeepSeek V1 and V2 in plain PyTorch, written from the specification of the two families, float32, one sequence at a time.

Reference where the installed transformers has none (V1) or departs from the vendor's rule (V2: it never divides the weights by
their sum, knows no moe_layer_freq and needs shared experts). Tested by deepseek_plain_test.py against numbers computed by hand and, for
V2, against transformers. `Plain.wrong` names one plausible mistake to make on purpose; each is an `if` at its place below.
Shapes: T tokens, D width, N heads, G key-value heads; n, r, v the unrotated, rotated and value part of a head; L latent width.
"""

import json
import math

import torch
from safetensors.torch import load_file

MISTAKES = {  # label: the families it can be made in
    **dict.fromkeys([
        "no rope on keys", "rope sine reversed", "gate and up swapped", "norm weight plus one", "mean subtracted", "one expert fewer",
        "weights divided by their sum", "weights not divided by their sum", "softmax after the choice", "shared experts left out",
        "shared experts averaged with the routed", "dense layer skipped", "eps outside the root"], ("deepseek", "deepseek_v2")),
    **dict.fromkeys(["interleaved rope", "kv heads dealt in turn", "scaled by 16"], ("deepseek",)),
    **dict.fromkeys([
        "half-split rope", "rotated part first", "rotated key normed", "latent not normed", "inner norms with rms_norm_eps",
        "inner norms with 1e-5", "no scale factor", "scale factor not squared", "scale of the unrotated part", "scale of the value part", "values before keys",
        "all keys before all values", "rotated key for the first head only", "rope on all of a head", "cos and sin without their factor",
        "group score is the sum", "groups ignored", "neighbours are in different groups", "dropped experts keep their scores", "not scaled",
        "normalised and scaled", "shared experts scaled too"], ("deepseek_v2",)),
}


def mscale(factor, u):
    return 1.0 if factor <= 1 else 0.1 * u * math.log(factor) + 1.0


def rope_of(config):
    """(object with the scaling keys, theta)."""
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return rope, rope.get("rope_theta", config.get("rope_theta", 10000.0))


def frequencies(config, dim, length):
    """(inverse frequencies [dim / 2], factor on cos and sin) for a sequence of `length` tokens."""
    rope, theta = rope_of(config)
    kind, longest = rope.get("rope_type", rope.get("type", "default")), config.get("max_position_embeddings", 2048)
    exponent = torch.arange(0, dim, 2).float() / dim
    if kind == "dynamic" and length > longest:
        theta = theta * (rope["factor"] * length / longest - (rope["factor"] - 1)) ** (dim / (dim - 2))
    plain = 1.0 / theta ** exponent
    if kind == "linear":
        return plain / rope["factor"], 1.0
    if kind != "yarn":
        return plain, 1.0
    factor, l0 = rope["factor"], rope.get("original_max_position_embeddings", 4096)
    turns = lambda r: dim * math.log(l0 / (2 * math.pi * r)) / (2 * math.log(theta))  # noqa: E731
    low = max(math.floor(turns(rope.get("beta_fast") or 32)), 0)
    high = min(math.ceil(turns(rope.get("beta_slow") or 1)), dim - 1)
    ramp = ((torch.arange(dim // 2).float() - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    a = mscale(factor, rope.get("mscale", 1)) / mscale(factor, rope.get("mscale_all_dim", 0))
    return (1 - ramp) * plain + ramp * plain / factor, a


def choose(scores, k):
    """Top k by falling score, ties to the lower index: (values, ids, gap between the k-th and the next)."""
    order = scores.sort(dim=-1, descending=True, stable=True)
    gap = order.values[:, k - 1] - order.values[:, k] if k < scores.shape[1] else torch.ones(len(scores))
    return order.values[:, :k], order.indices[:, :k], gap


class Plain:
    def __init__(self, config, tensors):
        self.config, self.tensors, self.wrong = config, tensors, None
        self.latent = config["model_type"] == "deepseek_v2"
        self.experts = config.get("n_routed_experts") or config.get("num_experts")

    def weight(self, name):
        return self.tensors[name + ".weight"]

    def linear(self, x, name):
        bias = self.tensors.get(name + ".bias")
        if bias is not None and self.wrong == "no bias on " + name.rsplit(".", 1)[1]:
            bias = None
        return torch.nn.functional.linear(x, self.weight(name), bias)

    def norm(self, x, name, eps=None):
        weight, eps = self.weight(name), self.config.get("rms_norm_eps", 1e-6) if eps is None else eps
        if self.wrong == "norm weight plus one":
            weight = weight + 1
        if self.wrong == "mean subtracted":
            x = x - x.mean(-1, keepdim=True)
        if self.wrong == "eps outside the root":
            return x / (x.pow(2).mean(-1, keepdim=True).sqrt() + eps) * weight
        return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight

    # --- attention ---

    def rotate(self, x, part="q"):
        """x [T, N, dim]."""
        dim = x.shape[-1]
        inverse, a = frequencies(self.config, dim, len(x))
        if self.wrong == "cos and sin without their factor":
            a = 1.0
        angle = torch.arange(len(x)).float()[:, None] * inverse[None, :]
        cos, sin = (angle.cos() * a)[:, None, :], (angle.sin() * a)[:, None, :]
        if part == "k" and self.wrong == "no rope on keys":
            return x
        if part == "q" and self.wrong == "rope sine reversed":
            sin = -sin
        if (self.latent and self.wrong != "half-split rope") or self.wrong == "interleaved rope":
            even, odd = x[..., 0::2], x[..., 1::2]
            return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
        first, second = x[..., :dim // 2], x[..., dim // 2:]
        return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)

    def attend(self, q, k, v, scale):
        """q [T, N, d], k [T, G, d], v [T, G, v] -> [T, N * v]."""
        repeats = q.shape[1] // k.shape[1]
        if self.wrong == "kv heads dealt in turn":
            k, v = k.repeat(1, repeats, 1), v.repeat(1, repeats, 1)
        else:
            k, v = k.repeat_interleave(repeats, 1), v.repeat_interleave(repeats, 1)
        scores = torch.einsum("ihd,jhd->hij", q, k) * scale
        hidden = torch.ones(len(q), len(q), dtype=torch.bool).triu(1)
        return torch.einsum("hij,jhv->ihv", scores.masked_fill(hidden, -math.inf).softmax(-1), v).flatten(1)

    def plain_attention(self, prefix, x):
        heads = self.config["num_attention_heads"]
        kv_heads = self.config.get("num_key_value_heads") or heads
        dim = self.config["hidden_size"] // heads
        q = self.rotate(self.linear(x, prefix + "q_proj").view(len(x), heads, dim), "q")
        k = self.rotate(self.linear(x, prefix + "k_proj").view(len(x), kv_heads, dim), "k")
        return self.attend(q, k, self.linear(x, prefix + "v_proj").view(len(x), kv_heads, dim), dim ** -0.5)

    def latent_attention(self, prefix, x):
        c, heads = self.config, self.config["num_attention_heads"]
        n, r, v, width = c["qk_nope_head_dim"], c["qk_rope_head_dim"], c["v_head_dim"], c["kv_lora_rank"]
        eps = c.get("rms_norm_eps", 1e-6) if self.wrong == "inner norms with rms_norm_eps" else 1e-5 if self.wrong == "inner norms with 1e-5" else 1e-6
        if c.get("q_lora_rank", 1536) is None:
            q = self.linear(x, prefix + "q_proj")
        else:
            q = self.linear(self.norm(self.linear(x, prefix + "q_a_proj"), prefix + "q_a_layernorm", eps), prefix + "q_b_proj")
        q = q.view(len(x), heads, n + r)
        q_n, q_r = (q[..., r:], q[..., :r]) if self.wrong == "rotated part first" else (q[..., :n], q[..., n:])

        compressed = self.linear(x, prefix + "kv_a_proj_with_mqa")
        latent, k_r = compressed[:, :width], compressed[:, width:]
        if self.wrong == "rotated key normed":
            k_r = k_r / torch.sqrt(k_r.pow(2).mean(-1, keepdim=True) + eps)
        if self.wrong != "latent not normed":
            latent = self.norm(latent, prefix + "kv_a_layernorm", eps)
        expanded = self.linear(latent, prefix + "kv_b_proj")
        kv = expanded.view(len(x), heads, n + v)
        k_n, values = kv[..., :n], kv[..., n:]
        if self.wrong == "values before keys":
            values, k_n = kv[..., :v], kv[..., v:]
        if self.wrong == "all keys before all values":
            k_n, values = expanded[:, :heads * n].view(len(x), heads, n), expanded[:, heads * n:].view(len(x), heads, v)

        k_r = k_r[:, None, :].expand(-1, heads, -1)
        if self.wrong == "rotated key for the first head only":
            k_r = torch.cat([k_r[:, :1], torch.zeros_like(k_r[:, 1:])], 1)
        if self.wrong == "rope on all of a head":
            queries, keys = self.rotate(torch.cat([q_n, q_r], -1), "q"), self.rotate(torch.cat([k_n, k_r], -1), "k")
        else:
            queries, keys = torch.cat([q_n, self.rotate(q_r, "q")], -1), torch.cat([k_n, self.rotate(k_r, "k")], -1)

        scale = {"scale of the unrotated part": n, "scale of the value part": v}.get(self.wrong, n + r) ** -0.5
        rope, _ = rope_of(c)
        if rope.get("rope_type", rope.get("type", "default")) != "default" and rope.get("mscale_all_dim"):
            m = mscale(rope["factor"], rope["mscale_all_dim"])
            scale *= 1 if self.wrong == "no scale factor" else m if self.wrong == "scale factor not squared" else m * m
        return self.attend(queries, keys, values, scale)

    # --- feed-forward ---

    def mlp(self, prefix, x):
        gate, up = self.linear(x, prefix + "gate_proj"), self.linear(x, prefix + "up_proj")
        if self.wrong == "gate and up swapped":
            gate, up = up, gate
        return self.linear(torch.nn.functional.silu(gate) * up, prefix + "down_proj")

    def is_moe(self, l):
        c = self.config
        return bool(self.experts) and l >= c.get("first_k_dense_replace", 0) and l % c.get("moe_layer_freq", 1) == 0

    def route(self, logits):
        """(ids [T, K], weights [T, K], gap [T])."""
        c, k = self.config, self.config["num_experts_per_tok"]
        scores = logits.softmax(-1)
        select = scores
        if c.get("topk_method") == "group_limited_greedy" and self.wrong != "groups ignored":
            groups = c["n_group"]
            members = scores.view(len(scores), groups, -1)
            if self.wrong == "neighbours are in different groups":
                members = scores.view(len(scores), -1, groups).transpose(1, 2)
            best = members.sum(-1) if self.wrong == "group score is the sum" else members.max(-1).values
            _, kept, group_gap = choose(best, c["topk_group"])
            keep = torch.zeros_like(best).scatter(1, kept, 1.0)[..., None].expand_as(members)
            if self.wrong == "neighbours are in different groups":
                keep = keep.transpose(1, 2)
            select = scores * keep.reshape_as(scores)
        weights, ids, gap = choose(select, k)
        if select is not scores:
            # Places filled up with weight 0 are decided by nothing; a near-tie of groups is one of experts.
            gap = torch.where(weights[:, -1] == 0, torch.ones_like(gap), gap).minimum(group_gap)
        if self.wrong == "dropped experts keep their scores":
            weights = scores.gather(1, ids)
        if self.wrong == "softmax after the choice":
            weights = logits.gather(1, ids).softmax(-1)
        if self.wrong == "one expert fewer":
            weights = torch.cat([weights[:, :-1], torch.zeros_like(weights[:, -1:])], 1)
        divide = c.get("norm_topk_prob", False) and k > 1
        if self.wrong == "weights divided by their sum":
            divide = True
        if self.wrong == "weights not divided by their sum":
            divide = False
        factor = 16.0 if self.wrong == "scaled by 16" else c.get("routed_scaling_factor", 1.0) if self.latent else 1.0
        if divide:
            weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
        if (not divide or self.wrong == "normalised and scaled") and self.wrong != "not scaled":
            weights = weights * factor
        return ids, weights, gap

    def feed_forward(self, l, x, out):
        block, c = f"model.layers.{l}.mlp.", self.config
        if not self.is_moe(l):
            return self.mlp(block, x) * (0 if self.wrong == "dense layer skipped" else 1)
        logits = x @ self.weight(block + "gate").T
        ids, weights, gap = self.route(logits)
        out[f"router_logits.{l}"], out[f"ids.{l}"], out[f"weights.{l}"], out[f"gap.{l}"] = logits, ids.to(torch.int32), weights, gap
        y = torch.zeros_like(x)
        for e in range(self.experts):
            weight = (weights * (ids == e)).sum(-1)
            rows = weight != 0
            y[rows] += weight[rows, None] * self.mlp(block + f"experts.{e}.", x[rows])
        if c.get("n_shared_experts") and self.wrong != "shared experts left out":
            shared = self.mlp(block + "shared_experts.", x)
            if self.wrong == "shared experts scaled too":
                shared = shared * c.get("routed_scaling_factor", 1.0)
            y = (y + shared) / 2 if self.wrong == "shared experts averaged with the routed" else y + shared
        return y

    @torch.no_grad()
    def __call__(self, ids):
        """What reference.run gives."""
        out = {}
        h = self.weight("model.embed_tokens")[ids]
        for l in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{l}."
            attention = self.latent_attention if self.latent else self.plain_attention
            heads = attention(layer + "self_attn.", self.norm(h, layer + "input_layernorm"))
            h = h + self.linear(heads, layer + "self_attn.o_proj")
            h = h + self.feed_forward(l, self.norm(h, layer + "post_attention_layernorm"), out)
            out[f"hidden.{l}"] = h.clone()
        tied = self.config.get("tie_word_embeddings", False)
        out["logits"] = self.norm(h, "model.norm") @ self.weight("model.embed_tokens" if tied else "lm_head").T
        return out


def split_experts(tensors):
    """The fused layout back to one tensor per expert and matrix."""
    out = {}
    for name, tensor in tensors.items():
        if name.endswith(".experts.gate_up_proj"):
            for e, both in enumerate(tensor):
                gate, up = both.chunk(2)
                out[name.replace("gate_up_proj", f"{e}.gate_proj.weight")] = gate
                out[name.replace("gate_up_proj", f"{e}.up_proj.weight")] = up
        elif name.endswith(".experts.down_proj"):
            for e, one in enumerate(tensor):
                out[name.replace("down_proj", f"{e}.down_proj.weight")] = one
        else:
            out[name] = tensor
    return out


def load(folder):
    tensors = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    return Plain(json.loads((folder / "config.json").read_text()), split_experts(tensors))


def make(model, how):
    """The same model with one of MISTAKES ("no bias on <projection>" is one for both families)."""
    if how not in MISTAKES and not how.startswith("no bias on "):
        raise ValueError(how)
    wrong = Plain(model.config, model.tensors)
    wrong.wrong = how
    return wrong
