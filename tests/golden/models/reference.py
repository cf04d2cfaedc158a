"""Tiny random checkpoints and what a reference implementation computes from them: what all families share.

Used by make_models_golden.py (stored goldens) and tests/conformance.py (fresh ones). README.md says what a family file
(families/<model_type>.py) supplies; what it leaves out is taken from here (see `part`). A case is a plain dict:
  name, family (model_type), weights (name of the stored weight set), seed, config (config.json as written),
  storage ("bf16" | "f16" | "f32") and types ({end of a tensor's name: storage} where one differs),
  layout ("plain" | "fused" | "unaligned" | "sharded"), lengths (of its sequences), special (odd weights),
  flags (further arguments of `fare score` in tests/conformance.py),
  mistakes ({label: None = made by `mistake`, a dict = changes of config.json, a function = changes of the tensors}).
"""

import copy
import importlib
import json
import math
import struct
import sys
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
from mistakes import mistake  # noqa: E402, F401  (the shared one)

TYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
NAMES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32", torch.uint8: "U8"}

# Mistakes that fit every family whose attention and experts are those of the transformers classes.
COMMON = {"interleaved rope": None, "no rope on keys": None, "rope sine reversed": None, "gate and up swapped": None,
          "norm weight plus one": None, "mean subtracted": None, "one expert fewer": None}


def families():
    return sorted(path.stem for path in (HERE / "families").glob("*.py"))


def part(family, name):
    """Function `name` of a family's file, else the one of this file; None where neither has it."""
    module = importlib.import_module("families." + family)
    return getattr(module, name, None) or globals().get(name)


# --- cases ------------------------------------------------------------------------------------------------------------

def merged(config, changes):
    """A change to Ellipsis removes the key."""
    return {key: value for key, value in {**config, **changes}.items() if value is not ...}


def case_maker(family, config):
    """A function that makes one stored case of the family; keywords it does not know are changes of config.json."""
    def make(name, weights, lengths=(1, 2, 10), mistakes=None, storage="bf16", layout="plain", special=None, **changes):
        return {"name": f"{family}_{name}", "family": family, "weights": f"{family}_{weights}", "storage": storage,
                "layout": layout, "lengths": list(lengths), "config": config(**changes), "special": special or {},
                "mistakes": mistakes or {}}
    return make


def seeded(cases, first):
    """The cases with one seed per weight set, counted from `first`."""
    seeds = {}
    for case in cases:
        case["seed"] = seeds.setdefault(case["weights"], first + len(seeds))
    return cases


def random_case_of(family, number, rng, config):
    return {"name": f"{family}_random_{number}", "family": family, "storage": rng.choice(["bf16", "f16", "f32"]),
            "layout": rng.choice(["plain", "fused", "unaligned", "sharded"] if part(family, "fused") else ["plain", "unaligned", "sharded"]),
            "lengths": [1, 2, 11, 11, rng.randint(13, 70)], "special": {}, "mistakes": {}, "config": config, "seed": rng.randint(0, 10**6)}


def random_sizes(rng):
    """Legal values, odder than any real model's, of the keys that all families read."""
    heads = rng.choice([1, 2, 4, 6])
    return {"num_attention_heads": heads, "num_key_value_heads": rng.choice([d for d in range(1, heads + 1) if heads % d == 0]),
            "num_hidden_layers": rng.choice([1, 2, 3, 4]), "vocab_size": rng.choice([17, 64, 101]),
            "hidden_act": rng.choice(["silu", "swish", ...]), "rms_norm_eps": rng.choice([1e-6, 1e-5, 1e-3, ...]),
            "tie_word_embeddings": rng.choice([True, False, ...]), "max_position_embeddings": rng.choice([8, 16, 64]),
            "rope_theta": rng.choice([100.0, 10000.0, 3e6, ...])}


def random_rope(rng, width):
    """A rope_scaling for rotary dimension `width`."""
    if width <= 2:  # dynamic scaling has no meaning for one pair
        return None
    return rng.choice([None, {"rope_type": "linear", "factor": 3.0}, {"type": "dynamic", "factor": 2.5},
                       {"type": "yarn", "factor": 3.0, "original_max_position_embeddings": 8},
                       {"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 3.0, "original_max_position_embeddings": 16},
                       {"rope_type": "longrope", "short_factor": [1.0 + j / 4 for j in range(width // 2)],
                        "long_factor": [1.5 + j for j in range(width // 2)], "original_max_position_embeddings": 12}])


def sequences_of(case):
    generator = torch.Generator().manual_seed(case["seed"] + 1000)
    return [torch.randint(0, case["config"]["vocab_size"], (n,), generator=generator) for n in case["lengths"]]


# --- tensors ----------------------------------------------------------------------------------------------------------

def storage_of(case, name):
    return next((kind for end, kind in case.get("types", {}).items() if name.endswith(end)), case["storage"])


class Draw:
    """Random tensors of one checkpoint, in the order they are asked for."""

    def __init__(self, case):
        self.case, self.config, self.special = case, case["config"], case.get("special", {})
        self.generator = torch.Generator().manual_seed(case["seed"])
        self.out = {}
        self.hidden, self.heads = self.config["hidden_size"], self.config["num_attention_heads"]
        self.kv_heads = self.config.get("num_key_value_heads") or self.heads
        self.head_dim = self.config.get("head_dim") or self.hidden // self.heads

    def normal(self, name, *shape, scale):
        self.out[name] = torch.randn(*shape, generator=self.generator) * scale

    def linear(self, name, rows, columns, scale=1.3, bias=None):
        """`<name>.weight`; with a scale in `bias` also `<name>.bias`."""
        self.normal(name + ".weight", rows, columns, scale=scale / math.sqrt(columns))
        if bias:
            self.normal(name + ".bias", rows, scale=bias)

    def norm(self, name, size, low=0.5, high=1.6):
        self.out[name + ".weight"] = low + (high - low) * torch.rand(size, generator=self.generator)

    def embedding(self):
        self.normal("model.embed_tokens.weight", self.config["vocab_size"], self.hidden, scale=self.special.get("embedding_scale", 1.0))

    def norms(self, layer):
        self.norm(layer + "input_layernorm", self.hidden)
        self.norm(layer + "post_attention_layernorm", self.hidden)

    def attention(self, layer, biased=""):
        """q, k, v and o of the common set; `biased`: the letters of those with a bias."""
        for name, rows in (("q", self.heads * self.head_dim), ("k", self.kv_heads * self.head_dim), ("v", self.kv_heads * self.head_dim)):
            self.linear(layer + f"self_attn.{name}_proj", rows, self.hidden, 1.8, 0.5 if name in biased else None)
        self.linear(layer + "self_attn.o_proj", self.hidden, self.heads * self.head_dim, self.special.get("branch_scale", 1.3),
                    0.3 if "o" in biased else None)

    def mlp(self, prefix, width, parts=("gate_proj", "up_proj", "down_proj"), bias=None):
        """A gated MLP or one expert: `<prefix><part>.weight`."""
        self.linear(prefix + parts[0], width, self.hidden, bias=bias)
        self.linear(prefix + parts[1], width, self.hidden, bias=bias)
        self.linear(prefix + parts[2], self.hidden, width, self.special.get("branch_scale", 1.3), bias=bias)

    def moe(self, block, experts, width, parts=("gate_proj", "up_proj", "down_proj")):
        """Router and experts of one block ("model.layers.0.mlp.")."""
        self.linear(block + "gate", experts, self.hidden, 2.0)
        for e in range(experts):
            self.mlp(block + f"experts.{e}.", width, parts)

    def head(self, tied):
        self.norm("model.norm", self.hidden)
        if not tied:
            self.linear("lm_head", self.config["vocab_size"], self.hidden)

    def finish(self):
        """{name: float32 tensor}, rounded to the storage type."""
        if "favourite" in self.special:  # dimension 0 of the residual stream is large everywhere and only the router reads it
            self.out["model.embed_tokens.weight"][:, 0] = 12.0
            for name, tensor in self.out.items():
                if name.endswith(".gate.weight"):
                    tensor[:, 0] = 0.0
                    tensor[self.special["favourite"], 0] = 4.0
                    tensor[self.special["never"], 0] = -4.0
        return {name: tensor.to(TYPES[storage_of(self.case, name)]).float() for name, tensor in self.out.items()}


def fuse_experts(tensors, block="mlp.", parts=("gate_proj", "up_proj", "down_proj")):
    """All experts of a layer as gate_up_proj [E, 2I, D] (gate rows first) and down_proj [E, D, I]; the block is named mlp."""
    out, layers = {}, set()
    for name, tensor in tensors.items():
        if ".experts." in name:
            layers.add(int(name.split(".")[2]))
        else:
            out[name.replace(block + "gate.", "mlp.gate.")] = tensor
    for l in sorted(layers):
        prefix = f"model.layers.{l}.{block}experts."
        count = sum(name.startswith(prefix) and name.endswith("." + parts[0] + ".weight") for name in tensors)
        stack = lambda part: torch.stack([tensors[f"{prefix}{e}.{part}.weight"] for e in range(count)])  # noqa: E731
        out[f"model.layers.{l}.mlp.experts.gate_up_proj"] = torch.cat([stack(parts[0]), stack(parts[1])], 1)
        out[f"model.layers.{l}.mlp.experts.down_proj"] = stack(parts[2])
    return out


# --- files ------------------------------------------------------------------------------------------------------------

def write_safetensors(path, tensors, case, unaligned=False):
    """Tensors in the given order, uint8 as they are, all others in their storage type; `unaligned`: the data begins at an odd address."""
    header, blobs, position = {}, [], 0
    for name, tensor in tensors.items():
        kept = tensor if tensor.dtype == torch.uint8 else tensor.to(TYPES[storage_of(case, name)])
        data = kept.contiguous().view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": NAMES[kept.dtype], "shape": list(tensor.shape), "data_offsets": [position, position + len(data)]}
        blobs.append(data)
        position += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    while (len(text) % 2 == 1) != unaligned or (not unaligned and len(text) % 8 != 0):
        text += b" "
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_weights(folder, case):
    """What FARE reads: the weights in the case's layout (unaligned and sharded: tensors also out of order). Returns the file names."""
    layout = case.get("layout", "plain")
    tensors = part(case["family"], "tensors")(case)
    if layout == "fused":
        tensors = part(case["family"], "fused")(tensors, case["config"])
    if stored := part(case["family"], "stored"):
        tensors = stored(tensors, case)
    if layout in ("unaligned", "sharded"):  # an order that is neither alphabetical nor by layer
        generator = torch.Generator().manual_seed(7)
        names = list(tensors)
        tensors = {names[i]: tensors[names[i]] for i in torch.randperm(len(names), generator=generator).tolist()}
    if layout != "sharded":
        write_safetensors(folder / "model.safetensors", tensors, case, layout == "unaligned")
        return ["model.safetensors"]
    files = ["part-b.safetensors", "part-a.safetensors", "part-c.safetensors"]  # names that no pattern would guess
    where = {name: files[i % 3] for i, name in enumerate(tensors)}
    for file in files:
        write_safetensors(folder / file, {n: t for n, t in tensors.items() if where[n] == file}, case, file == files[0])
    size = sum(t.numel() * TYPES[case["storage"]].itemsize for t in tensors.values())
    index = {"metadata": {"total_size": float(size)}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return files + ["model.safetensors.index.json"]


def write_reference(folder, case, change=None):
    """What the reference reads: one aligned file (fused where the case is); `change`: of the tensors, before they are fused."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(case["config"]))
    tensors = part(case["family"], "tensors")(case)
    if change:
        tensors = change(tensors)
    if case.get("layout") == "fused":
        tensors = part(case["family"], "fused")(tensors, case["config"])
    write_safetensors(folder / "model.safetensors", tensors, case)


# --- the reference ----------------------------------------------------------------------------------------------------

def load(folder):
    """float32, plain ("eager") attention and experts."""
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                 experts_implementation="eager")
    return model.eval()


@torch.no_grad()
def run(model, ids):
    """{logits [T, V], hidden.l [T, H] after layer l (before the final norm); of MoE layers router_logits.l, ids.l, weights.l}.

    A family whose choice is not by the softmax of its logits adds gap.l [T], the distance of the k-th from the (k+1)-th selection value."""
    out, handles = {}, []

    def keep_hidden(l):
        def hook(_, __, output):
            out[f"hidden.{l}"] = (output[0] if isinstance(output, tuple) else output)[0].clone()
        return hook

    def keep_router(l):
        def hook(_, __, output):
            out[f"router_logits.{l}"], out[f"weights.{l}"] = output[0].clone(), output[1].clone()
            out[f"ids.{l}"] = output[2].to(torch.int32)
        return hook

    for l, layer in enumerate(model.model.layers):
        handles.append(layer.register_forward_hook(keep_hidden(l)))
        router = getattr(layer.mlp, "gate", None) or getattr(layer.mlp, "router", None)
        if router is not None:
            handles.append(router.register_forward_hook(keep_router(l)))
    try:
        out["logits"] = model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0].clone()
    finally:
        for handle in handles:
            handle.remove()
    return out


class Reference:
    """The reference of one case; every sequence runs through a copy that has seen none (dynamic rope remembers lengths)."""

    def __init__(self, case, folder):
        self.case, self.folder = case, folder
        write_reference(folder, case)
        self.model = part(case["family"], "load")(folder)

    def outputs(self, model=None):
        """What `run` gives, per sequence."""
        run_one = part(self.case["family"], "run")
        return [run_one(copy.deepcopy(model or self.model), ids) for ids in sequences_of(self.case)]

    def mistaken(self, label):
        """The same with one of the case's mistakes made on purpose."""
        change, family = self.case["mistakes"][label], self.case["family"]
        if change is None:
            with part(family, "mistake")(copy.deepcopy(self.model), label) as model:
                return self.outputs(model)
        if callable(change):
            write_reference(self.folder / "mistaken", self.case, change)
        else:
            # The sequences and weights of the case, read under another config.json.
            write_reference(self.folder / "mistaken", self.case)
            (self.folder / "mistaken" / "config.json").write_text(json.dumps(merged(self.case["config"], change)))
        return self.outputs(part(family, "load")(self.folder / "mistaken"))


def distance(found, expected):
    """Largest difference over the largest expected magnitude."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


def distance_of_logits(wrong, right):
    """The largest over the sequences."""
    return max(distance(w["logits"], r["logits"]) for w, r in zip(wrong, right))
