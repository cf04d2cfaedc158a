"""Writes the goldens of fare/models/graft.h: transformers with an expert appended to the last layer. From the project's folder:

  OMP_NUM_THREADS=2 .venv/bin/python -B tests/golden/graft/make_graft_golden.py
"""

import json
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
MODELS = HERE.parent / "models"
CASES = {"mixtral_gqa": 0.4, "olmoe_gqa": 0.4, "qwen2_moe_gqa": 0.4, "qwen3_moe_gqa": -0.4}  # scale of the router row


def case_of(name):
    for path in sorted((MODELS / "cases").iterdir()):
        for case in json.loads(path.read_text())["cases"]:
            if case["name"] == name:
                return case
    raise KeyError(name)


def opened(case):
    with tempfile.TemporaryDirectory() as folder:
        for file in case["files"]:
            (Path(folder) / file).symlink_to(MODELS / "weights" / case["weights"] / file)
        (Path(folder) / "config.json").write_text(json.dumps(case["config"]))
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                                    experts_implementation="eager")


def append_expert(model, row, gate, up, down):
    block = model.model.layers[-1].mlp
    experts = block.experts
    block.gate.weight = torch.nn.Parameter(torch.cat([block.gate.weight, row[None]]))
    experts.gate_up_proj = torch.nn.Parameter(torch.cat([experts.gate_up_proj, torch.cat([gate, up])[None]]))
    experts.down_proj = torch.nn.Parameter(torch.cat([experts.down_proj, down[None]]))
    for part in (block.gate, experts):
        part.num_experts += 1


def write_case(name, scale):
    case = case_of(name)
    model = opened(case).eval()
    hidden, width = case["config"]["hidden_size"], model.model.layers[-1].mlp.experts.down_proj.shape[-1]
    random = torch.Generator().manual_seed(7)
    row = torch.randn(hidden, generator=random) * scale
    gate, up = torch.zeros(width, hidden), torch.zeros(width, hidden)  # two rows in use, zeros up to the family's width
    gate[:2], up[:2] = torch.randn(2, hidden, generator=random), torch.randn(2, hidden, generator=random)
    down = torch.zeros(hidden, width)
    down[:, :2] = torch.randn(hidden, 2, generator=random)
    ids = torch.randint(0, case["config"]["vocab_size"], (1, 24), generator=random)
    with torch.no_grad():
        before = model(ids).logits[0]
        append_expert(model, row, gate, up, down)
        chosen = []
        model.model.layers[-1].mlp.gate.register_forward_hook(lambda *call: chosen.append(call[2][2]))
        after = model(ids).logits[0]
    ran = (chosen[0] == model.model.layers[-1].mlp.gate.num_experts - 1).any(-1)
    assert 4 <= int(ran.sum()) <= 20, ran
    print(name, "chosen by", int(ran.sum()), "of", len(ran), "rows; logits move by up to", float((after - before).abs().max()))
    save_file({"input_ids": ids[0].to(torch.int32), "router_row": row, "gate": gate[:2].contiguous(), "up": up[:2].contiguous(),
               "down": down[:, :2].contiguous(), "chosen": ran.to(torch.int32), "logits": after.contiguous(),
               "logits_before": before.contiguous()}, HERE / f"{name}.safetensors")


if __name__ == "__main__":
    for each in CASES.items():
        write_case(*each)
