"""Writes the golden files of this folder with the Python packages `safetensors` and `torch`, and checks a file of ours.

    python make_golden.py            # writes python_written/ and expected.json
    python make_golden.py --check F  # reads F, written by the test, with the Python reader and compares
"""
import hashlib
import json
import pathlib
import struct
import sys

import torch
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent


def tensors():
    """Small tensors of several types; values exact in every type."""
    return {
        "a.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3) - 2.5,
        "b.half": torch.tensor([[0.5], [-1.25], [65504.0]], dtype=torch.float16),
        "c.brain": torch.tensor([1.0, -3.0, 1.5, 2.0**100, 0.0], dtype=torch.bfloat16),
        "d.bytes": torch.tensor([[1, 2, 255]], dtype=torch.uint8),
        "e.long": torch.tensor([-(2**40), 7], dtype=torch.int64),
        "f.int": torch.tensor([-5, 6, 7], dtype=torch.int32),
        "g.scalar": torch.tensor(0.75, dtype=torch.float32),
        "h.empty": torch.zeros((2, 0, 4), dtype=torch.bfloat16),
        "i.flag": torch.tensor([True, False, True]),
        "é \"quoted\"": torch.tensor([1.0], dtype=torch.float32),
    }


NAMES = {
    torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8",
    torch.int64: "I64", torch.int32: "I32", torch.bool: "BOOL",
}


def raw(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""


def fingerprint(config, values, sample):
    """An independent spelling of docs/fingerprint.md."""
    config = {key: value for key, value in config.items() if key != "transformers_version"}
    digest = hashlib.sha256()
    digest.update(json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    for name in sorted(values, key=lambda n: n.encode()):
        tensor = values[name]
        data = raw(tensor)
        digest.update(name.encode() + b"\0" + NAMES[tensor.dtype].encode() + b"\0")
        digest.update(",".join(map(str, tensor.shape)).encode() + b"\0")
        if sample and len(data) > 4096:
            for i in range(16):
                begin = i * (len(data) - 256) // 15
                digest.update(data[begin:begin + 256])
        else:
            digest.update(data)
    return "sha256:" + digest.hexdigest()


CONFIG = {
    "model_type": "olmoe", "architectures": ["OlmoeForCausalLM"], "transformers_version": "5.23.0",
    "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "big": 1e16, "less": 1e15, "tiny": 1.5e-300,
    "initializer_range": 0.02, "clip_qkv": None, "tie_word_embeddings": False, "num_experts": 64, "minus": -3,
    "rope_scaling": {"type": "linear", "factor": 2.0, "Z": 1, "transformers_version": "kept when nested"},
    "note": "caf\u00e9 \u2603 \U0001f600 \"quoted\" back\\slash tab\t newline\n bell\u0007 del\u007f",
    "\u00e9": [], "\U0001f600": {}, "\uffee": [1, [2.5, "x"]],
}


def large():
    """More than 4096 bytes, so that the blocks of a large checkpoint's fingerprint differ from the whole."""
    return torch.arange(3001, dtype=torch.int32) ** 2 % 100003


def main():
    folder = HERE / "python_written"
    folder.mkdir(exist_ok=True)
    values = tensors()
    save_file(values, folder / "model.safetensors", metadata={"format": "pt", "kind": "golden"})
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=2, ensure_ascii=True))

    sharded = HERE / "python_sharded"
    sharded.mkdir(exist_ok=True)
    names = sorted(values)
    parts = {"weights-00007.safetensors": names[1::2], "weights-b.safetensors": names[0::2]}
    for file, members in parts.items():
        save_file({name: values[name] for name in members}, sharded / file)
    total = sum(len(raw(t)) for t in values.values())
    index = {"metadata": {"total_size": float(total)}, "weight_map": {n: f for f, m in parts.items() for n in m}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    (sharded / "config.json").write_text(json.dumps({**CONFIG, "transformers_version": "4.0"}, sort_keys=True))

    # The same tensors as an older writer may leave them: unpadded header, names in reverse, nothing aligned.
    unaligned = HERE / "python_unaligned"
    unaligned.mkdir(exist_ok=True)
    header, data = {}, b""
    for name in sorted(values, reverse=True):
        piece = raw(values[name])
        header[name] = {"dtype": NAMES[values[name].dtype], "shape": list(values[name].shape),
                        "data_offsets": [len(data), len(data) + len(piece)]}
        data += piece
    text = json.dumps(header)
    text += " " * ((3 - len(text)) % 8)  # the data begin at 3 modulo 8
    (unaligned / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text.encode() + data)
    (unaligned / "config.json").write_text(json.dumps(CONFIG))
    assert all(torch.equal(load_file(unaligned / "model.safetensors")[n], t) for n, t in values.items())

    expected = {
        "fingerprint": fingerprint(CONFIG, values, False),
        "fingerprint_large_whole": fingerprint({}, {"t": large()}, False),
        "fingerprint_large_blocks": fingerprint({}, {"t": large()}, True),
        "canonical_config": json.dumps(CONFIG, sort_keys=True, separators=(",", ":"), ensure_ascii=False),
        "tensors": {n: {"dtype": NAMES[t.dtype], "shape": list(t.shape), "hex": raw(t).hex()}
                    for n, t in values.items()},
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


def check(path):
    found, wanted = load_file(path), tensors()
    assert found.keys() == wanted.keys(), (sorted(found), sorted(wanted))
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name
    print("equal")


if __name__ == "__main__":
    check(sys.argv[2]) if len(sys.argv) == 3 and sys.argv[1] == "--check" else main()
