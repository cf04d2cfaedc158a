"""deepseek_plain.py against numbers computed by hand (Python floats, no tensors) and, for V2, against transformers.

  .venv/bin/python -B tests/golden/models/deepseek_plain_test.py
"""

import json
import math
import sys
import tempfile
import unittest
from pathlib import Path

try:
    import torch
    import transformers
    import safetensors  # noqa: F401
except ImportError as missing:
    print(f"SKIPPED: {missing}; make setup installs the test requirements")
    sys.exit(77)

sys.path.insert(0, str(Path(__file__).parent))
import deepseek_plain  # noqa: E402
import reference  # noqa: E402
from deepseek_plain import Plain  # noqa: E402

SIN, COS = math.sin(1), math.cos(1)
LOGITS = torch.tensor([[1, 0.5, 2, -1, 0, 1.5]])
WHOLE = [math.exp(z) / sum(math.exp(y) for y in LOGITS[0].tolist()) for z in LOGITS[0].tolist()]


def model_of(config, tensors, model_type="deepseek"):
    return Plain({"model_type": model_type, **config}, {f"{name}.weight": torch.tensor(rows) * 1.0 for name, rows in tensors.items()})


def two(s0, s1):
    """Softmax of two scores."""
    return math.exp(s0) / (math.exp(s0) + math.exp(s1)), math.exp(s1) / (math.exp(s0) + math.exp(s1))


def silu(x):
    return x / (1 + math.exp(-x))


class Hand(unittest.TestCase):
    def close(self, found, expected, places=5):
        for f, e in zip(torch.as_tensor(found).flatten().tolist(), expected, strict=True):
            self.assertAlmostEqual(f, e, places)

    def test_rms_norm(self):
        model = model_of({"rms_norm_eps": 0.5}, {"norm": [2, 3]})
        self.close(model.norm(torch.tensor([3.0, 4.0]), "norm"), [6 / math.sqrt(13), 12 / math.sqrt(13)])

    def test_half_split_rope_of_the_first_family(self):
        # theta 16, four dimensions: angles 1 and 1/4 at position 1, pairs (0, 2) and (1, 3).
        x = torch.tensor([[[1.0, 10, 0, 0]], [[1.0, 10, 0, 0]]])
        turned = model_of({"rope_theta": 16.0}, {}).rotate(x)
        self.close(turned[0, 0], [1, 10, 0, 0])
        self.close(turned[1, 0], [COS, 10 * math.cos(0.25), SIN, 10 * math.sin(0.25)], 5)

    def test_interleaved_rope_of_the_second(self):
        x = torch.tensor([[[1.0, 0, 10, 0]], [[1.0, 0, 10, 0]]])
        turned = model_of({"rope_theta": 16.0}, {}, "deepseek_v2").rotate(x)
        self.close(turned[1, 0], [COS, SIN, 10 * math.cos(0.25), 10 * math.sin(0.25)], 5)

    def test_linear_and_dynamic_rope(self):
        linear, _ = deepseek_plain.frequencies({"rope_theta": 16.0, "rope_scaling": {"type": "linear", "factor": 2.0}}, 4, 9)
        self.close(linear, [0.5, 0.125])
        config = {"rope_theta": 1e4, "max_position_embeddings": 4096, "rope_scaling": {"type": "dynamic", "factor": 2.0}}
        dynamic, _ = deepseek_plain.frequencies(config, 64, 8192)
        self.assertAlmostEqual(dynamic[1].item() ** -32, 31082.2367, -1)
        self.close(deepseek_plain.frequencies(config, 64, 4096)[0][:2], [1, 1e4 ** (-1 / 32)])

    def test_yarn_of_v2_lite(self):
        config = {"rope_scaling": {"type": "yarn", "factor": 40, "beta_fast": 32, "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707,
                                   "original_max_position_embeddings": 4096}}
        f, a = deepseek_plain.frequencies(config, 64, 5)
        self.close(f[[0, 9, 10, 11, 16]], [1, 0.07498942, 0.05623413, 0.03900693, 0.0055], 7)
        self.close(f[[22, 23, 31]] * 1e4, [1.7782794, 0.33338036, 0.033338036])
        self.assertEqual(a, 1)
        self.assertAlmostEqual(deepseek_plain.mscale(40, 0.707) ** 2, 1.5896262, 6)

    def test_plain_attention_of_two_tokens(self):
        # One head of two dimensions. q = k = x; v = (x0 + 2 x1, 3 x0 + 4 x1). The second token's query and key turn by 1 rad.
        model = model_of({"hidden_size": 2, "num_attention_heads": 1}, {"q_proj": [[1, 0], [0, 1]], "k_proj": [[1, 0], [0, 1]],
                                                                        "v_proj": [[1, 2], [3, 4]]})
        out = model.plain_attention("", torch.tensor([[1.0, 0], [0, 2]]))
        p0, p1 = two(-2 * SIN / math.sqrt(2), 4 / math.sqrt(2))
        self.close(out, [1, 3, p0 * 1 + p1 * 4, p0 * 3 + p1 * 8])

    def test_latent_attention_of_two_tokens(self):
        # Two heads, n = 1, r = 2, v = 1, latent width 1. kv_b rows: key, value of head 0, key, value of head 1.
        tensors = {"q_proj": [[0, 1], [0, 1], [0, 0], [0, 2], [0, 0], [0, 1]], "kv_a_proj_with_mqa": [[2, 3], [1, 0], [0, 1]],
                   "kv_a_layernorm": [0.5], "kv_b_proj": [[1], [2], [3], [4]]}
        config = {"hidden_size": 2, "num_attention_heads": 2, "q_lora_rank": None, "kv_lora_rank": 1, "qk_nope_head_dim": 1,
                  "qk_rope_head_dim": 2, "v_head_dim": 1, "rms_norm_eps": 1.0}
        x = torch.eye(2)
        u0, u1 = 0.5 * 2 / math.sqrt(4 + 1e-6), 0.5 * 3 / math.sqrt(9 + 1e-6)
        for factor in (1, 4):  # 4: linear scaling, and m(4, 0.5)^2 on the softmax scale
            scale = (0.05 * math.log(factor) + 1) ** 2 / math.sqrt(3)
            sin, cos = math.sin(1 / factor), math.cos(1 / factor)
            if factor > 1:
                config["rope_scaling"] = {"type": "linear", "factor": factor, "mscale_all_dim": 0.5}
            out = model_of(config, tensors, "deepseek_v2").latent_attention("", x)
            # Token 1: queries [1 | 1, 0] and [2 | 0, 1]; the shared rotated keys are (1, 0) and (0, 1).
            a0, a1 = two(scale * (u0 + cos), scale * u1)
            b0, b1 = two(scale * (6 * u0 - sin), scale * (6 * u1 + 1))
            self.close(out, [2 * u0, 4 * u0, a0 * 2 * u0 + a1 * 2 * u1, b0 * 4 * u0 + b1 * 4 * u1])

    def test_query_rank(self):
        # q_b of the normed q_a: with one dimension the norm leaves the sign times its weight.
        tensors = {"q_a_proj": [[3, 0]], "q_a_layernorm": [0.5], "q_b_proj": [[1], [1], [1]], "kv_a_proj_with_mqa": [[1, 0], [1, 0], [0, 1]],
                   "kv_a_layernorm": [1], "kv_b_proj": [[1], [1]]}
        config = {"hidden_size": 2, "num_attention_heads": 1, "q_lora_rank": 1, "kv_lora_rank": 1, "qk_nope_head_dim": 1, "qk_rope_head_dim": 2,
                  "v_head_dim": 1}
        out = model_of(config, tensors, "deepseek_v2").latent_attention("", torch.tensor([[1.0, 0], [2, 1]]))
        # Token 1: q = 0.5 each, its rotated part turned; c = 1 and 2, both normed to 1; kr = (1, 0) and (2, 1).
        score = lambda kr: 0.5 * (1 + kr[0] + kr[1]) / math.sqrt(3)  # noqa: E731
        s0 = 0.5 * (1 + (COS - SIN)) / math.sqrt(3)  # key 0 is at distance 1
        p0, p1 = two(s0, score((2, 1)))
        self.close(out[1], [p0 + p1], 5)

    def test_routers(self):
        route = lambda t=LOGITS, kind="deepseek", **config: model_of({"num_experts_per_tok": 3, **config}, {}, kind).route(t)[:2]  # noqa: E731
        ids, weights = route()
        self.assertEqual(ids.tolist(), [[2, 5, 0]])
        self.close(weights, [0.419699, 0.254560, 0.154398], 5)
        self.close(route(norm_topk_prob=True)[1], [0.506480, 0.307196, 0.186324], 5)
        self.close(route(norm_topk_prob=True, num_experts_per_tok=1)[1], [WHOLE[2]])
        self.close(route(routed_scaling_factor=16.0)[1], [0.419699, 0.254560, 0.154398], 5)  # unknown to V1
        self.close(route(kind="deepseek_v2", routed_scaling_factor=16.0)[1], [16 * WHOLE[e] for e in (2, 5, 0)], 5)
        self.close(route(kind="deepseek_v2", routed_scaling_factor=16.0, norm_topk_prob=True)[1], [0.506480, 0.307196, 0.186324], 5)

    def test_groups(self):
        limited = {"topk_method": "group_limited_greedy", "n_group": 3, "num_experts_per_tok": 3, "routed_scaling_factor": 16.0}
        ids, weights, _ = model_of({**limited, "topk_group": 2}, {}, "deepseek_v2").route(LOGITS)
        self.assertEqual(ids.tolist(), [[2, 5, 4]])
        self.close(weights, [6.715177, 4.072960, 0.908800], 5)
        ids, weights, gap = model_of({**limited, "topk_group": 1}, {}, "deepseek_v2").route(LOGITS)
        self.assertEqual(ids.tolist(), [[2, 3, 0]])  # two survive; the third place has weight 0 and goes to the lowest index
        self.close(weights, [16 * WHOLE[2], 16 * WHOLE[3], 0], 5)
        self.close(gap, [WHOLE[2] - WHOLE[5]])  # what decides is the choice of the group

    def test_layers(self):
        layers = lambda **c: [model_of(c, {}).is_moe(l) for l in range(5)]  # noqa: E731
        self.assertEqual(layers(n_routed_experts=4), [True] * 5)
        self.assertEqual(layers(n_routed_experts=4, first_k_dense_replace=1), [False] + [True] * 4)
        self.assertEqual(layers(n_routed_experts=4, moe_layer_freq=2), [True, False, True, False, True])
        self.assertEqual(layers(n_routed_experts=4, first_k_dense_replace=1, moe_layer_freq=2), [False, False, True, False, True])
        self.assertEqual(layers(n_routed_experts=None), [False] * 5)

    def test_routed_and_shared_experts(self):
        # Width 1 throughout. Logits (0, ln 3): scores 1/4 and 3/4, one expert kept. Expert e: down (e + 1), gate 1, up 2.
        tensors = {"gate": [[0.0], [math.log(3)]]}
        for name, down in (("experts.0.", 1), ("experts.1.", 2), ("shared_experts.", 5)):
            tensors.update({name + "gate_proj": [[1]], name + "up_proj": [[2]], name + "down_proj": [[down]]})
        tensors = {"model.layers.0.mlp." + name: rows for name, rows in tensors.items()}
        config = {"n_routed_experts": 2, "num_experts_per_tok": 1, "n_shared_experts": 1}
        mlp = silu(1) * 2
        out = {}
        self.close(model_of(config, tensors).feed_forward(0, torch.ones(1, 1), out), [0.75 * 2 * mlp + 5 * mlp])
        self.close(out["router_logits.0"], [0, math.log(3)])
        self.close(model_of({**config, "n_shared_experts": None}, tensors).feed_forward(0, torch.ones(1, 1), {}), [0.75 * 2 * mlp])
        scaled = model_of({**config, "routed_scaling_factor": 3.0}, tensors, "deepseek_v2").feed_forward(0, torch.ones(1, 1), {})
        self.close(scaled, [3 * 0.75 * 2 * mlp + 5 * mlp])  # the shared expert is not scaled

    def test_a_dense_layer_and_the_head(self):
        # No attention (o_proj 0), one dense layer: h = 2, normed to 1, so h becomes 2 + silu(1) * 3 * 4; the head doubles the normed h.
        tensors = {"model.embed_tokens": [[2]], "model.norm": [1], "lm_head": [[2]], "model.layers.0.input_layernorm": [1],
                   "model.layers.0.post_attention_layernorm": [1], **{f"model.layers.0.self_attn.{p}_proj": [[0]] * 2 for p in "qkv"},
                   "model.layers.0.self_attn.o_proj": [[0, 0]], **{f"model.layers.0.mlp.{p}_proj": [[w]] for p, w in (("gate", 1), ("up", 3), ("down", 4))}}
        config = {"num_hidden_layers": 1, "hidden_size": 2, "num_attention_heads": 1, "rms_norm_eps": 0.0, "n_routed_experts": None}
        out = model_of(config, tensors)(torch.tensor([0]))
        self.close(out["hidden.0"], [2 + silu(1) * 12])
        self.close(out["logits"], [2])


class Transformers(unittest.TestCase):
    def test_v2_agrees_where_transformers_follows_the_vendor(self):
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        wanted = {"lite", "query_rank", "yarn_two_mscales", "yarn_no_mscale", "linear_scale_factor", "dynamic", "groups_keep_two", "groups_keep_one",
                  "scaled", "bias", "fused"}
        for case in reference.part("deepseek_v2", "cases")():
            if case["name"].removeprefix("deepseek_v2_") not in wanted:
                continue
            with self.subTest(case["name"]), tempfile.TemporaryDirectory() as folder:
                right = reference.Reference(case, Path(folder))
                self.assertNotIsInstance(right.model, Plain)
                for ids, expected in zip(reference.sequences_of(case), right.outputs()):
                    found = right.model.plain(ids)
                    self.assertEqual(set(found), set(expected))
                    for key, value in expected.items():
                        self.assertTrue(torch.equal(found[key], value) if key.startswith("ids") else
                                        torch.allclose(found[key], value, rtol=1e-4, atol=2e-5 * value.abs().max().item()), (case["name"], key))

    def test_other_configs_go_to_the_plain_reference(self):
        follows = reference.part("deepseek_v2", "follows_vendor")
        config = reference.part("deepseek_v2", "config")
        self.assertTrue(follows(config()))
        self.assertTrue(follows(config(norm_topk_prob=True, num_experts_per_tok=1)))
        for change in ({"moe_layer_freq": 2}, {"norm_topk_prob": True}, {"n_shared_experts": None}, {"n_routed_experts": None}, {"topk_method": "gready"},
                       {"num_key_value_heads": 2}):
            self.assertFalse(follows(config(**change)), json.dumps(change))


if __name__ == "__main__":
    unittest.main()
