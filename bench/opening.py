"""P6: time to open a checkpoint of OLMoE-1B-7B's size and layout whose file is one hole.

Timed is the whole process of `fare validate`, which opens the model as every command does: start, header, configuration,
shapes of all tensors. No weights are read.
"""

import json
import shutil
import statistics
import struct

from bench import ROOT


def tensor_shapes(config):
    d, width, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    shapes = {"model.embed_tokens.weight": [vocab, d], "lm_head.weight": [vocab, d], "model.norm.weight": [d]}
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        shapes |= {f"{name}self_attn.{part}_proj.weight": [d, d] for part in "qkvo"}
        shapes |= {f"{name}{norm}.weight": [d] for norm in ("self_attn.q_norm", "self_attn.k_norm", "input_layernorm", "post_attention_layernorm")}
        shapes[f"{name}mlp.gate.weight"] = [config["num_experts"], d]
        for expert in range(config["num_experts"]):
            shapes |= {f"{name}mlp.experts.{expert}.{part}_proj.weight": shape
                       for part, shape in (("gate", [width, d]), ("up", [width, d]), ("down", [d, width]))}
    return shapes


def write_hole(folder, config):
    """A checkpoint in BF16 whose weights are a hole in the file; returns its bytes, None where holes take space."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    header, end = {}, 0
    for name, shape in sorted(tensor_shapes(config).items()):
        begin, end = end, end + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return None if (folder / "model.safetensors").stat().st_blocks * 512 > end // 100 else end


def measure(bench):
    """{"bytes", "seconds"}, or None with a sentence."""
    config = json.loads((ROOT / "tests" / "configs" / "olmoe-1b-7b.json").read_text())
    folder = bench.out / "models" / "hole"
    size = write_hole(folder, config)
    if size is None:
        print("SKIPPED: opening a 14 GB checkpoint: this file system stores holes")
        return None
    seconds = statistics.median(bench.run([bench.options.fare, "validate", "--kind", "model", folder])[0] for _ in range(bench.pick(3, 7)))
    shutil.rmtree(folder)
    print(f"-- P6: {size / 1e9:.1f} GB opened in {seconds:.2f} s", flush=True)
    return {"bytes": size, "seconds": seconds}
