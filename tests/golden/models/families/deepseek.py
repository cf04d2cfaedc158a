"""DeepSeekMoE V1: tensors and cases. Not in transformers; the reference is ../deepseek_plain.py."""

import contextlib

import deepseek_plain
import reference
from reference import Draw, random_sizes

BASIC = dict.fromkeys(["interleaved rope", "no rope on keys", "rope sine reversed", "gate and up swapped", "norm weight plus one",
                       "mean subtracted", "one expert fewer"])


def config(**changes):
    """The smallest complete config.json; a change to Ellipsis removes the key."""
    return reference.merged({
        "architectures": ["DeepseekForCausalLM"], "model_type": "deepseek", "vocab_size": 64, "hidden_size": 32,
        "intermediate_size": 40, "moe_intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "n_routed_experts": 5, "n_shared_experts": 2, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
        "moe_layer_freq": 1, "norm_topk_prob": False, "scoring_func": "softmax", "max_position_embeddings": 128, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "rope_scaling": None, "attention_bias": False, "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2,
    }, changes)


def draw_feed_forward(draw, l):
    """The second half of layer `l`; the same for V1 and V2."""
    c, block = draw.config, f"model.layers.{l}.mlp."
    experts = c.get("n_routed_experts") or c.get("num_experts")
    if not (experts and l >= c.get("first_k_dense_replace", 0) and l % c.get("moe_layer_freq", 1) == 0):
        draw.mlp(block, c["intermediate_size"])
        return
    draw.moe(block, experts, c["moe_intermediate_size"])
    if c.get("n_shared_experts"):
        draw.mlp(block + "shared_experts.", c["n_shared_experts"] * c["moe_intermediate_size"])


def tensors(case):
    draw, c = Draw(case), case["config"]
    draw.embedding()
    for l in range(c["num_hidden_layers"]):
        draw.norms(f"model.layers.{l}.")
        draw.attention(f"model.layers.{l}.", "qkvo" if c.get("attention_bias") else "")
        draw_feed_forward(draw, l)
    draw.head(c.get("tie_word_embeddings"))
    return draw.finish()


load = deepseek_plain.load


def run(model, ids):
    return model(ids)


@contextlib.contextmanager
def mistake(model, how):
    yield deepseek_plain.make(model, how)


def cases():
    case = reference.case_maker("deepseek", config)
    shared = dict.fromkeys(["shared experts left out", "shared experts averaged with the routed"])
    divided = {"weights divided by their sum": None, "softmax after the choice": None}
    four = {"num_hidden_layers": 4}
    return reference.seeded([
        case("first_dense", "first_dense", (1, 2, 10, 10, 70), {
            **BASIC, **shared, **divided, "kv heads dealt in turn": None, "scaled by 16": None, "dense layer skipped": None,
            "theta 1e6": {"rope_theta": 1e6}}),
        case("all_moe", "all_moe", (2, 10), {**BASIC, **shared, **divided}, "f32", first_k_dense_replace=0),
        case("all_dense", "all_dense", (2, 10), {"gate and up swapped": None, "dense layer skipped": None}, "f16", first_k_dense_replace=2),
        case("every_second", "every_second", (2, 10), {**shared, "dense layer skipped": None}, first_k_dense_replace=0, moe_layer_freq=2, **four),
        case("every_second_after_one", "every_second_after_one", (10,), {**shared, "dense layer skipped": None}, first_k_dense_replace=1,
             moe_layer_freq=2, **four),
        case("no_shared_experts", "no_shared", (2, 10), {**BASIC}, n_shared_experts=None),
        case("no_shared_experts_key_absent", "no_shared", (10,), {"one expert fewer": None}, n_shared_experts=...),
        case("zero_shared_experts", "no_shared", (10,), {"one expert fewer": None}, n_shared_experts=0),
        case("one_shared_expert", "one_shared", (2, 10), {**shared}, "f16", n_shared_experts=1),
        case("dense_model", "dense_model", (2, 10), {"gate and up swapped": None}, n_routed_experts=None, n_shared_experts=None,
             num_experts_per_tok=None, first_k_dense_replace=...),
        case("normalised", "first_dense", (2, 10), {"weights not divided by their sum": None, "one expert fewer": None, **shared},
             norm_topk_prob=True),
        case("normalised_pair", "all_moe", (10,), {"weights not divided by their sum": None}, "f32", norm_topk_prob=True, first_k_dense_replace=0),
        case("normalised_top1", "first_dense", (2, 10), {"weights divided by their sum": None, **shared}, norm_topk_prob=True,
             num_experts_per_tok=1),
        case("every_expert", "first_dense", (10,), {"shared experts left out": None}, num_experts_per_tok=5),
        case("keys_absent", "first_dense", (10,), {"theta 1e6": {"rope_theta": 1e6}, "weights divided by their sum": None}, norm_topk_prob=...,
             scoring_func=..., moe_layer_freq=..., rms_norm_eps=..., rope_theta=..., rope_scaling=..., attention_bias=..., hidden_act=...,
             tie_word_embeddings=..., max_position_embeddings=...),
        case("bias", "bias", (2, 10), {f"no bias on {part}_proj": None for part in "qkvo"}, attention_bias=True),
        case("mha", "mha", (10,), {"interleaved rope": None}, num_key_value_heads=None),
        case("linear", "first_dense", (10,), {"default rope": {"rope_scaling": None}}, rope_scaling={"type": "linear", "factor": 2.5}),
        case("dynamic", "first_dense", (10, 16, 17, 40), {"default rope": {"rope_scaling": None}, "of the trained length": {"max_position_embeddings": 64}},
             rope_scaling={"type": "dynamic", "factor": 2.0}, max_position_embeddings=16),
        case("new_rope_tied", "tied", (2, 10), {"theta of the class": {"rope_parameters": {"rope_type": "default"}, "rope_theta": ...},
                                                "rope_scaling wins": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 500.0}}},
             rope_theta=..., rope_parameters={"rope_type": "default", "rope_theta": 500.0}, tie_word_embeddings=True),
        case("small_activations", "small", (2, 10), {"eps 1e-5": {"rms_norm_eps": 1e-5}, "eps outside the root": None}, rms_norm_eps=...,
             special={"embedding_scale": 1e-3, "branch_scale": 1e-3}),
        case("sharded", "sharded", (10,), layout="sharded"),
        case("unaligned", "unaligned", (10,), storage="f32", layout="unaligned"),
    ], 500)


def random_rope(rng, width):
    """A rope_scaling that the family accepts."""
    return rng.choice([None, {"rope_type": "linear", "factor": 3.0}, {"type": "dynamic", "factor": 2.5}]) if width > 2 else None


def random_feed_forward(rng, layers):
    """Keys of the second half of the layers, the same for V1 and V2."""
    experts = rng.choice([2, 3, 6, 8, 33])
    return {"n_routed_experts": experts, "num_experts_per_tok": rng.randint(1, min(8, experts)), "n_shared_experts": rng.choice([None, 0, 1, 2, 3]),
            "first_k_dense_replace": rng.choice([0, 0, 1, ...]), "moe_layer_freq": rng.choice([1, 2, ...]),
            "norm_topk_prob": rng.choice([True, False, ...]), "intermediate_size": rng.choice([1, 9, 40]), "moe_intermediate_size": rng.choice([1, 7, 24]),
            "attention_bias": rng.choice([True, False, ...]), "scoring_func": rng.choice(["softmax", ...])}


def random_case(number, rng):
    """A configuration that no real model has; what is drawn is always legal."""
    sizes, head_dim = random_sizes(rng), rng.choice([2, 4, 8, 16])
    if sizes["num_attention_heads"] * head_dim < 4:
        head_dim = 4
    return reference.random_case_of("deepseek", number, rng, config(**{
        **sizes, "hidden_size": sizes["num_attention_heads"] * head_dim, **random_feed_forward(rng, sizes["num_hidden_layers"]),
        "rope_scaling": random_rope(rng, head_dim)}))
