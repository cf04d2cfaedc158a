"""Writes the goldens of fare/models: see README.md. Run from the project's folder:

  OMP_NUM_THREADS=2 .venv/bin/python -B tests/golden/models/make_models_golden.py [model_type ...]

Without arguments every family is written again, else only those named.
"""

import json
import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
import reference  # noqa: E402


def check_special(case, expected):
    """A favourite expert is always chosen, a starved one never."""
    if "favourite" not in case["special"]:
        return
    for outputs in expected:
        for key in outputs:
            if key.startswith("ids."):
                assert (outputs[key] == case["special"]["favourite"]).any(1).all()
                assert not (outputs[key] == case["special"]["never"]).any()


def write_case(case):
    """Writes the case's weights (once per set) and expected values; returns its entry of the index."""
    with tempfile.TemporaryDirectory() as folder:
        right = reference.Reference(case, Path(folder))
        expected = right.outputs()
        distances = {label: reference.distance_of_logits(right.mistaken(label), expected) for label in case["mistakes"]}
    check_special(case, expected)
    store = HERE / "weights" / case["weights"]
    if not store.exists():
        store.mkdir()
        reference.write_weights(store, case)
    flat = {}
    for s, (ids, outputs) in enumerate(zip(reference.sequences_of(case), expected)):
        flat[f"{s}.input_ids"] = ids.to(torch.int32)
        flat.update({f"{s}.{key}": value.contiguous() for key, value in outputs.items()})
    save_file(flat, HERE / "expected" / (case["name"] + ".safetensors"))
    print(case["name"], {k: round(v, 4) for k, v in distances.items()}, flush=True)
    return {"name": case["name"], "weights": case["weights"], "files": sorted(path.name for path in store.iterdir()),
            "lengths": case["lengths"], "config": case["config"], "mistakes": distances}


def belongs_to(family):
    """Whether a path is named after this family, and not after a longer name that begins alike (deepseek, deepseek_v2)."""
    return lambda path: family == max((f for f in reference.families() if path.name.startswith(f + "_")), key=len, default=None)


def main():
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for family in sys.argv[1:] or reference.families():
        for weights in filter(belongs_to(family), (HERE / "weights").iterdir()):
            shutil.rmtree(weights)
        for expected in filter(belongs_to(family), (HERE / "expected").iterdir()):
            expected.unlink()
        index = ",\n".join("  " + json.dumps(write_case(case)) for case in reference.part(family, "cases")())
        (HERE / "cases" / (family + ".json")).write_text('{"transformers": "%s", "cases": [\n%s\n]}\n' % (transformers.__version__, index))


if __name__ == "__main__":
    main()
