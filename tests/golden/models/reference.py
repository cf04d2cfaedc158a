"""Tiny random checkpoints and what transformers computes from them.

Shared by make_models_golden.py (stored goldens) and tests/models_live.py (fresh ones). A case is a plain dict:
  name, family ("olmoe" | "mixtral"), config (config.json as written), storage ("bf16" | "f16" | "f32"),
  layout (see write_weights), seed, lengths (of its sequences), special (odd weights), mistakes ({label: how}).
"""

import contextlib
import copy
import json
import math
import struct

import torch

TYPES = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}
NAMES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}


def config_of(family, **changes):
    """The smallest complete config.json of a family; a change to Ellipsis removes the key."""
    config = {
        "architectures": [{"olmoe": "OlmoeForCausalLM", "mixtral": "MixtralForCausalLM"}[family]],
        "model_type": family, "vocab_size": 64, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "num_experts_per_tok": 2, "tie_word_embeddings": False,
        "bos_token_id": 1, "eos_token_id": 2,
        {"olmoe": "num_experts", "mixtral": "num_local_experts"}[family]: 4,
    }
    config.update(changes)
    return {key: value for key, value in config.items() if value is not ...}


def tensors_of(case):
    """{name: float32 tensor} in the published layout, values already rounded to the storage type."""
    config, special = case["config"], case.get("special", {})
    generator = torch.Generator().manual_seed(case["seed"])
    hidden, width = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    kv_heads = config.get("num_key_value_heads") or heads
    head_dim = config.get("head_dim") or hidden // heads
    experts = config.get("num_experts") or config.get("num_local_experts")
    out = {}

    def normal(name, *shape, scale):
        out[name] = torch.randn(*shape, generator=generator) * scale

    def linear(name, rows, columns, scale=1.3):
        normal(name + ".weight", rows, columns, scale=scale / math.sqrt(columns))

    def norm(name, size, low=0.5, high=1.6):
        out[name + ".weight"] = low + (high - low) * torch.rand(size, generator=generator)

    normal("model.embed_tokens.weight", config["vocab_size"], hidden, scale=special.get("embedding_scale", 1.0))
    for l in range(config["num_hidden_layers"]):
        layer = f"model.layers.{l}."
        norm(layer + "input_layernorm", hidden)
        norm(layer + "post_attention_layernorm", hidden)
        for name, rows in (("q", heads * head_dim), ("k", kv_heads * head_dim), ("v", kv_heads * head_dim)):
            linear(layer + f"self_attn.{name}_proj", rows, hidden, 1.8)
            if config.get("attention_bias"):
                normal(layer + f"self_attn.{name}_proj.bias", rows, scale=0.5)
        linear(layer + "self_attn.o_proj", hidden, heads * head_dim, special.get("branch_scale", 1.3))
        if config.get("attention_bias"):
            normal(layer + "self_attn.o_proj.bias", hidden, scale=0.3)
        if case["family"] == "olmoe":
            norm(layer + "self_attn.q_norm", heads * head_dim, 0.5, 2.2)
            norm(layer + "self_attn.k_norm", kv_heads * head_dim, 0.5, 2.2)
            block, parts = "mlp.", ("gate_proj", "up_proj", "down_proj")
        else:
            block, parts = "block_sparse_moe.", ("w1", "w3", "w2")
        linear(layer + block + "gate", experts, hidden, 2.0)
        for e in range(experts):
            one = layer + block + f"experts.{e}."
            linear(one + parts[0], width, hidden)
            linear(one + parts[1], width, hidden)
            linear(one + parts[2], hidden, width, special.get("branch_scale", 1.3))
    norm("model.norm", hidden)
    if not config.get("tie_word_embeddings"):
        linear("lm_head", config["vocab_size"], hidden)
    if "favourite" in special:  # dimension 0 of the residual stream is large everywhere and only the router reads it
        out["model.embed_tokens.weight"][:, 0] = 12.0
        for name, tensor in out.items():
            if name.endswith("gate.weight"):
                tensor[:, 0] = 0.0
                tensor[special["favourite"], 0] = 4.0
                tensor[special["never"], 0] = -4.0
    return {name: tensor.to(TYPES[case["storage"]]).float() for name, tensor in out.items()}


def fused(tensors, family):
    """The layout in which all experts of a layer are one tensor."""
    block = {"olmoe": "mlp.", "mixtral": "block_sparse_moe."}[family]
    parts = {"olmoe": ("gate_proj", "up_proj", "down_proj"), "mixtral": ("w1", "w3", "w2")}[family]
    out, layers = {}, 0
    for name, tensor in tensors.items():
        if ".experts." in name:
            layers = max(layers, int(name.split(".")[2]) + 1)
        else:
            out[name.replace(block + "gate.", "mlp.gate.")] = tensor
    for l in range(layers):
        prefix = f"model.layers.{l}.{block}experts."
        count = sum(name.startswith(prefix) and name.endswith(parts[0] + ".weight") for name in tensors)
        stack = lambda part: torch.stack([tensors[f"{prefix}{e}.{part}.weight"] for e in range(count)])  # noqa: E731
        out[f"model.layers.{l}.mlp.experts.gate_up_proj"] = torch.cat([stack(parts[0]), stack(parts[1])], 1)
        out[f"model.layers.{l}.mlp.experts.down_proj"] = stack(parts[2])
    return out


def write_safetensors(path, tensors, storage, unaligned=False):
    """Tensors in the given order; `unaligned`: the data begins at an odd address."""
    header, blobs, position = {}, [], 0
    for name, tensor in tensors.items():
        data = tensor.to(TYPES[storage]).contiguous().view(torch.uint8).numpy().tobytes()
        header[name] = {"dtype": NAMES[TYPES[storage]], "shape": list(tensor.shape), "data_offsets": [position, position + len(data)]}
        blobs.append(data)
        position += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    while (len(text) % 2 == 1) != unaligned or (not unaligned and len(text) % 8 != 0):
        text += b" "
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_weights(folder, case, layout=None):
    """Writes the weights in `layout`: plain, fused, unaligned (tensors also out of order) or sharded. Returns the file names."""
    layout = layout or case.get("layout", "plain")
    tensors = tensors_of(case)
    if layout == "fused":
        tensors = fused(tensors, case["family"])
    if layout in ("unaligned", "sharded"):  # an order that is neither alphabetical nor by layer
        generator = torch.Generator().manual_seed(7)
        names = list(tensors)
        tensors = {names[i]: tensors[names[i]] for i in torch.randperm(len(names), generator=generator).tolist()}
    if layout != "sharded":
        write_safetensors(folder / "model.safetensors", tensors, case["storage"], layout == "unaligned")
        return ["model.safetensors"]
    files = ["part-b.safetensors", "part-a.safetensors", "part-c.safetensors"]  # names that no pattern would guess
    where = {name: files[i % 3] for i, name in enumerate(tensors)}
    for file in files:
        write_safetensors(folder / file, {n: t for n, t in tensors.items() if where[n] == file}, case["storage"], file == files[0])
    size = sum(t.numel() * TYPES[case["storage"]].itemsize for t in tensors.values())
    index = {"metadata": {"total_size": float(size)}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return files + ["model.safetensors.index.json"]


def sequences_of(case):
    generator = torch.Generator().manual_seed(case["seed"] + 1000)
    return [torch.randint(0, case["config"]["vocab_size"], (n,), generator=generator) for n in case["lengths"]]


def load(folder):
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                 experts_implementation="eager")
    return model.eval()


@torch.no_grad()
def run(model, ids):
    """{logits [T, V], hidden.l [T, H] after layer l (before the final norm), router_logits.l, ids.l, weights.l}."""
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
        handles.append(layer.mlp.gate.register_forward_hook(keep_router(l)))
    try:
        out["logits"] = model(input_ids=ids.unsqueeze(0), use_cache=False).logits[0].clone()
    finally:
        for handle in handles:
            handle.remove()
    return out


def distance(found, expected):
    """Largest difference over the largest expected magnitude."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


# --- plausible mistakes, applied to the reference on purpose -----------------------------------------------------------

def interleaved_rope(q, k, cos, sin, *_, **__):
    half = cos.shape[-1] // 2
    cos, sin = cos[..., :half].unsqueeze(1), sin[..., :half].unsqueeze(1)

    def turn(x):
        even, odd = x[..., 0::2], x[..., 1::2]
        return torch.stack([even * cos - odd * sin, odd * cos + even * sin], -1).flatten(-2)
    return turn(q), turn(k)


def per_head_norm(module, head_dim):
    def forward(x):
        heads = x.unflatten(-1, (-1, head_dim))
        heads = heads * torch.rsqrt(heads.pow(2).mean(-1, keepdim=True) + module.variance_epsilon)
        return module.weight * heads.flatten(-2)
    return forward


def router_forward(router, score):
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


@contextlib.contextmanager
def patched(model, how):
    """The model with one mistake. `how` names a function below."""
    import importlib
    module = importlib.import_module(type(model).__module__)
    saved = {name: getattr(module, name) for name in ("apply_rotary_pos_emb", "repeat_kv")}
    model = copy.deepcopy(model)
    layers, config = model.model.layers, model.config
    head_dim = layers[0].self_attn.head_dim
    norms = [m for m in model.modules() if hasattr(m, "variance_epsilon")]

    def clamp(x):
        return x.clamp(-config.clip_qkv, config.clip_qkv) if clip is None else x.clamp(-clip, clip)
    clip = getattr(config, "clip_qkv", None)

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
        for layer in layers:
            gate, up = layer.mlp.experts.gate_up_proj.data.chunk(2, dim=1)
            layer.mlp.experts.gate_up_proj.data = torch.cat([up, gate], 1)
    elif how in ("weights not divided by their sum", "weights divided by their sum", "one expert fewer"):
        score = {"weights not divided by their sum": raw_weights, "weights divided by their sum": renormalised,
                 "one expert fewer": one_expert_fewer}[how]
        for layer in layers:
            layer.mlp.gate.forward = router_forward(layer.mlp.gate, score)
    elif how == "per-head q and k norm":
        for layer in layers:
            for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
                norm.forward = per_head_norm(norm, head_dim)
    elif how == "no q and k norm":
        for layer in layers:
            for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
                norm.forward = lambda x: x
    elif how == "clamp before the norm":
        for layer in layers:
            attention = layer.self_attn
            for norm in (attention.q_norm, attention.k_norm):
                norm.forward = lambda x, f=norm.forward: f(clamp(x))
            attention.v_proj.forward = lambda x, f=attention.v_proj.forward: clamp(f(x))
        config.clip_qkv = None
    elif how == "values not clamped":
        for layer in layers:
            for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
                norm.forward = lambda x, f=norm.forward: clamp(f(x))
        config.clip_qkv = None
    elif how == "eps 1e-6":
        for norm in norms:
            norm.variance_epsilon = 1e-6
    elif how == "eps outside the root":
        for norm in norms:
            norm.forward = lambda x, n=norm: n.weight * x / (x.pow(2).mean(-1, keepdim=True).sqrt() + n.variance_epsilon)
    elif how == "norm weight plus one":
        for norm in norms:
            norm.weight.data += 1
    elif how == "mean subtracted":
        for norm in norms:
            norm.forward = lambda x, f=norm.forward: f(x - x.mean(-1, keepdim=True))
    elif how.startswith("no bias on "):
        for layer in layers:
            getattr(layer.self_attn, how.removeprefix("no bias on ") + "_proj").bias.data.zero_()
    elif how == "yarn without its factor on cos and sin":
        model.model.rotary_emb.attention_scaling = 1.0
    elif how == "yarn factor on queries only":
        a = model.model.rotary_emb.attention_scaling
        model.model.rotary_emb.attention_scaling = math.sqrt(a)
    else:
        raise ValueError(how)
    try:
        yield model
    finally:
        for name, value in saved.items():
            setattr(module, name, value)


def mistake_distances(folder, case, expected):
    """{label: relative distance of the logits}: the largest over the case's sequences."""
    distances = {}
    config_path = folder / "config.json"
    for label, change in case.get("mistakes", {}).items():
        largest = 0.0
        for ids, right in zip(sequences_of(case), expected):
            if change is None:
                with patched(load(folder), label) as model:
                    wrong = run(model, ids)["logits"]
            else:
                wrong_config = {k: v for k, v in {**case["config"], **change}.items() if v is not ...}
                config_path.write_text(json.dumps(wrong_config))
                wrong = run(load(folder), ids)["logits"]
                config_path.write_text(json.dumps(case["config"]))
            largest = max(largest, distance(wrong, right["logits"]))
        distances[label] = largest
    return distances
