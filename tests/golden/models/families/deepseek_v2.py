"""DeepSeek-V2: tensors, cases and mistakes. Reference: transformers where it follows the vendor's rule, else ../deepseek_plain.py.

`follows_vendor` says where transformers 5.23 does not: it never divides the weights by their sum (norm_topk_prob), makes every layer from
first_k_dense_replace on a MoE layer (moe_layer_freq), cannot be built without routed or shared experts, does not know the spelling "gready",
repeats the expanded keys when num_key_value_heads is not num_attention_heads, and cannot rotate
parts that begin at an odd offset. Mistakes are made in deepseek_plain.
"""

import contextlib
import json

import deepseek_plain
import reference
import torch
from families.deepseek import draw_feed_forward, random_feed_forward
from reference import Draw, random_sizes

BASIC = dict.fromkeys(["half-split rope", "no rope on keys", "rope sine reversed", "gate and up swapped", "norm weight plus one",
                       "mean subtracted", "one expert fewer"])
LATENT = dict.fromkeys(["rotated part first", "rotated key normed", "latent not normed", "values before keys", "all keys before all values",
                        "rotated key for the first head only", "rope on all of a head", "scale of the unrotated part"])
SHARED = dict.fromkeys(["shared experts left out", "shared experts averaged with the routed"])
YARN = {"type": "yarn", "factor": 40.0, "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707,
        "original_max_position_embeddings": 16}
GROUPS = {"topk_method": "group_limited_greedy", "n_routed_experts": 8, "n_group": 4, "num_experts_per_tok": 3, "first_k_dense_replace": 0}


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key. Its unrotated, rotated and value parts all differ."""
    return reference.merged({
        "architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 40, "moe_intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4,
        "q_lora_rank": None, "kv_lora_rank": 12, "qk_nope_head_dim": 6, "qk_rope_head_dim": 8, "v_head_dim": 10, "n_routed_experts": 5,
        "n_shared_experts": 2, "num_experts_per_tok": 2, "first_k_dense_replace": 1, "moe_layer_freq": 1, "topk_method": "greedy",
        "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.0, "norm_topk_prob": False, "scoring_func": "softmax",
        "max_position_embeddings": 640, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None,
        "attention_bias": False, "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
    }, changes)


def tensors(case):
    draw, c = Draw(case), case["config"]
    heads, n, r, v, width = (c[key] for key in ("num_attention_heads", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim", "kv_lora_rank"))
    rank, biased = c.get("q_lora_rank", 1536), c.get("attention_bias")
    # Latent vectors of `latent_scale` 1e-3 make the epsilon of the inner norms visible.
    small = case["special"].get("latent_scale", 1.0)
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        attention = layer + "self_attn."
        draw.norms(layer)
        if rank is None:
            draw.linear(attention + "q_proj", heads * (n + r), draw.hidden, 1.8)
        else:
            draw.linear(attention + "q_a_proj", rank, draw.hidden, small, 0.5 if biased else None)
            draw.norm(attention + "q_a_layernorm", rank)
            draw.linear(attention + "q_b_proj", heads * (n + r), rank, 1.8)
        draw.linear(attention + "kv_a_proj_with_mqa", width + r, draw.hidden, small, 0.5 if biased else None)
        draw.out[attention + "kv_a_proj_with_mqa.weight"][width:] *= 1.8 / small
        draw.norm(attention + "kv_a_layernorm", width)
        draw.linear(attention + "kv_b_proj", heads * (n + v), width, 1.8)
        draw.linear(attention + "o_proj", draw.hidden, heads * v, bias=0.3 if biased else None)
        draw_feed_forward(draw, l)
    draw.head(c.get("tie_word_embeddings"))
    return draw.finish()


def fused(tensors, config):
    return reference.fuse_experts(tensors)


def follows_vendor(c):
    """Whether transformers computes what the vendor's code computes from this config."""
    return (c.get("moe_layer_freq", 1) == 1 and not (c.get("norm_topk_prob") and c["num_experts_per_tok"] > 1)
            and bool(c.get("n_routed_experts") or c.get("num_experts")) and bool(c["n_shared_experts"])
            and c.get("topk_method", "greedy") != "gready" and c.get("num_key_value_heads") in (None, c["num_attention_heads"])
            and c["hidden_size"] % c["num_attention_heads"] == 0 and c["qk_nope_head_dim"] % 2 == 0 and c["kv_lora_rank"] % 2 == 0)


def load(folder):
    if not follows_vendor(json.loads((folder / "config.json").read_text())):
        return deepseek_plain.load(folder)
    model = reference.load(folder)
    model.plain = deepseek_plain.load(folder)
    return model


def run(model, ids):
    if isinstance(model, deepseek_plain.Plain):
        return model(ids)
    out = reference.run(model, ids)
    for l in (int(key.split(".")[1]) for key in list(out) if key.startswith("ids.")):
        # In falling order; places filled up with weight 0 go to the lowest free index, which torch leaves open.
        weights, order = out[f"weights.{l}"].sort(dim=-1, descending=True, stable=True)
        lowest, _, out[f"gap.{l}"] = model.plain.route(out[f"router_logits.{l}"])
        out[f"weights.{l}"] = weights
        out[f"ids.{l}"] = torch.where(weights == 0, lowest.to(torch.int32), out[f"ids.{l}"].gather(1, order))
    return out


@contextlib.contextmanager
def mistake(model, how):
    yield deepseek_plain.make(model if isinstance(model, deepseek_plain.Plain) else model.plain, how)


def cases():
    case = reference.case_maker("deepseek_v2", config)
    scaled = {"not scaled": None, "shared experts scaled too": None}
    divided = {"weights divided by their sum": None, "softmax after the choice": None}
    groups = dict.fromkeys(["group score is the sum", "groups ignored", "neighbours are in different groups"])
    ranked = {"q_lora_rank": 20}
    six = {"num_attention_heads": 6, "hidden_size": 32}  # 32 is not divisible by 6
    default = {"default rope": {"rope_scaling": None}}
    sharp = {**YARN, "mscale": 1.3, "mscale_all_dim": 0.6}
    return reference.seeded([
        case("lite", "lite", (1, 2, 10, 10, 70), {
            **BASIC, **LATENT, **SHARED, **divided, "no scale factor": None, "scale factor not squared": None, "theta 1e6": {"rope_theta": 1e6},
            "dense layer skipped": None, "rope not scaled": {"rope_scaling": None}}, rope_scaling=YARN),
        case("no_rope_scaling", "lite", (2, 10), {**BASIC, **LATENT, "scale of the value part": None}),
        case("query_rank", "rank", (2, 10), {**BASIC, **LATENT, **SHARED}, "f32", **ranked),
        case("query_rank_absent", "rank1536", (10,), {"half-split rope": None}, q_lora_rank=..., hidden_size=8, num_attention_heads=1,
             num_key_value_heads=1, intermediate_size=8, moe_intermediate_size=4, num_hidden_layers=1, first_k_dense_replace=0),
        case("inner_eps", "small_latent", (2, 10), {"inner norms with rms_norm_eps": None, "inner norms with 1e-5": None}, "f32",
             rms_norm_eps=1e-3, special={"latent_scale": 1e-3}, **ranked),
        case("yarn_two_mscales", "lite", (10, 40), {**default, "no scale factor": None, "scale factor not squared": None,
                                                    "cos and sin without their factor": None}, rope_scaling=sharp),
        case("yarn_no_mscale", "lite", (10, 40), {**default, "cos and sin without their factor": None},
             rope_scaling={k: v for k, v in YARN.items() if "mscale" not in k}),
        case("yarn_only_mscale_one", "lite", (10,), {"cos and sin without their factor": None},
             rope_scaling={k: v for k, v in {**YARN, "mscale": 1.0}.items() if k != "mscale_all_dim"}),
        case("yarn_length_of_the_vendor", "lite", (10, 40), default, max_position_embeddings=4096, rope_theta=30.0,
             rope_scaling={"type": "yarn", "factor": 40.0, "mscale": 0.707, "mscale_all_dim": 0.707}),
        case("yarn_new_spelling", "lite", (10, 40), {"no scale factor": None}, rope_theta=..., rope_scaling=..., head_dim=8,
             rope_parameters={**{k: v for k, v in YARN.items() if k != "type"}, "rope_type": "yarn", "rope_theta": 500.0}),
        case("linear", "lite", (10,), default, rope_scaling={"type": "linear", "factor": 2.5}),
        case("linear_scale_factor", "lite", (10,), {**default, "no scale factor": None},
             rope_scaling={"type": "linear", "factor": 4.0, "mscale_all_dim": 1.2}),
        case("dynamic", "lite", (10, 16, 17, 40), {**default, "of the trained length": {"max_position_embeddings": 64}}, max_position_embeddings=16,
             rope_scaling={"type": "dynamic", "factor": 2.0}),
        case("gready", "lite", (10,), {"one expert fewer": None}, topk_method="gready"),
        case("keys_absent", "lite", (10,), {"one expert fewer": None, "theta 1e6": {"rope_theta": 1e6}}, topk_method=..., n_group=..., topk_group=...,
             routed_scaling_factor=..., norm_topk_prob=..., scoring_func=..., moe_layer_freq=..., rms_norm_eps=..., rope_theta=..., rope_scaling=...,
             attention_bias=..., hidden_act=..., tie_word_embeddings=..., num_key_value_heads=..., max_position_embeddings=...),
        case("groups_keep_two", "groups", (2, 10, 40), {**groups, **scaled, "one expert fewer": None}, topk_group=2, routed_scaling_factor=16.0, **GROUPS),
        case("groups_keep_one", "groups", (2, 10, 40), {**groups, "dropped experts keep their scores": None}, topk_group=1, **GROUPS),
        case("groups_of_all", "groups", (10,), {"one expert fewer": None, "not scaled": None}, topk_group=4, routed_scaling_factor=2.5, **GROUPS),
        case("groups_normalised", "groups", (10, 40), {**groups, "weights not divided by their sum": None, "normalised and scaled": None}, topk_group=2,
             norm_topk_prob=True, routed_scaling_factor=16.0, **GROUPS),
        case("scaled", "lite", (10,), {**scaled, "weights divided by their sum": None}, routed_scaling_factor=16.0),
        case("normalised", "lite", (10,), {"weights not divided by their sum": None, "normalised and scaled": None}, norm_topk_prob=True,
             routed_scaling_factor=16.0),
        case("normalised_top1", "lite", (10,), {"weights divided by their sum": None, "not scaled": None}, norm_topk_prob=True, num_experts_per_tok=1,
             routed_scaling_factor=2.5),
        case("kv_heads_ignored", "lite", (10,), {"half-split rope": None}, num_key_value_heads=2),
        case("heads_do_not_divide", "six", (10,), {**LATENT}, num_key_value_heads=None, **six),
        case("bias", "bias", (2, 10), {f"no bias on {part}": None for part in ("q_a_proj", "kv_a_proj_with_mqa", "o_proj")}, attention_bias=True, **ranked),
        case("bias_no_query_rank", "bias_direct", (10,), {f"no bias on {part}": None for part in ("kv_a_proj_with_mqa", "o_proj")}, attention_bias=True),
        case("every_second", "every_second", (2, 10), {**SHARED, "dense layer skipped": None}, first_k_dense_replace=0, moe_layer_freq=2, num_hidden_layers=4),
        case("all_moe", "all_moe", (10,), {**SHARED}, "f16", first_k_dense_replace=0),
        case("no_shared_experts", "no_shared", (10,), {"one expert fewer": None}, n_shared_experts=None),
        case("alias_tied", "tied", (10,), {"one expert fewer": None}, n_routed_experts=..., num_experts=5, tie_word_embeddings=True),
        case("fused", "fused", (10,), {"gate and up swapped": None}, layout="fused"),
        case("sharded", "sharded", (10,), layout="sharded"),
        case("unaligned", "unaligned", (10,), storage="f32", layout="unaligned"),
    ], 600)


def random_rope(rng, width):
    """A rope_scaling on which all published readers agree."""
    if width <= 2:
        return None
    yarn = {"type": "yarn", "factor": 3.0, "original_max_position_embeddings": 8}
    return rng.choice([None, {"rope_type": "linear", "factor": 3.0}, {"type": "dynamic", "factor": 2.5, "mscale_all_dim": 0.8}, yarn,
                       {**yarn, "mscale": 0.707, "mscale_all_dim": 0.707}, {**yarn, "mscale": 1.4, "mscale_all_dim": 0.3, "beta_fast": 4}])


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, width = random_sizes(rng), rng.choice([2, 4, 6, 16])
    blocks = random_feed_forward(rng, sizes["num_hidden_layers"])
    groups = rng.choice([g for g in range(1, blocks["n_routed_experts"] + 1) if blocks["n_routed_experts"] % g == 0])
    return reference.random_case_of("deepseek_v2", number, rng, config(**{
        **sizes, "hidden_size": rng.choice([12, 24, 36]), **blocks, "q_lora_rank": rng.choice([None, 1, 20]), "kv_lora_rank": rng.choice([2, 6, 18]),  # the reference takes even ranks only
        "qk_nope_head_dim": rng.choice([1, 4, 7]), "qk_rope_head_dim": width, "v_head_dim": rng.choice([1, 4, 9]),
        "topk_method": rng.choice(["greedy", "gready", "group_limited_greedy", "group_limited_greedy"]), "n_group": groups,
        "topk_group": rng.randint(1, groups), "routed_scaling_factor": rng.choice([1.0, 2.5, 16.0]), "rope_scaling": random_rope(rng, width)}))
