"""`fare score` on DeepSeek checkpoints as a user runs it: routes of models whose first layer is dense, masks, shared experts, --ignore-scale-factor.

  FARE=build/fare .venv/bin/python tests/deepseek_cli_test.py

Checkpoints and expected values are those of tests/golden/models. Ends with status 77 without safetensors.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
try:
    import numpy as np
    from safetensors.numpy import load_file
except ImportError as missing:
    print(f"SKIPPED: {missing}; make setup installs the test requirements")
    sys.exit(77)

FARE = os.environ.get("FARE", "build/fare")
GOLDEN = Path(__file__).parent / "golden" / "models"


class Deepseek(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def checkpoint(self, name):
        """The stored golden case `name` as a checkpoint folder, with requests for its last sequence. Returns its expected values."""
        cases = [case for path in (GOLDEN / "cases").glob("deepseek*.json") for case in json.loads(path.read_text())["cases"]]
        case = next(case for case in cases if case["name"] == name)
        self.model = self.folder / name
        shutil.copytree(GOLDEN / "weights" / case["weights"], self.model)
        (self.model / "config.json").write_text(json.dumps(case["config"]))
        expected = load_file(GOLDEN / "expected" / (name + ".safetensors"))
        last = len(case["lengths"]) - 1
        self.expected = {key.removeprefix(f"{last}."): value for key, value in expected.items() if key.startswith(f"{last}.")}
        ids = self.expected["input_ids"].tolist()
        (self.folder / "requests.jsonl").write_text(json.dumps({"id": "a", "context_ids": ids[:1], "continuation_ids": ids[1:] + [0]}) + "\n")
        self.targets = ids[1:] + [0]

    def score(self, *more, status=0):
        run = subprocess.run([FARE, "score", "--model", self.model, "--requests", self.folder / "requests.jsonl", "--out", self.folder / "scores.jsonl",
                              "--dtype", "f32", "--threads", "2", "--matmul", "onednn", *map(str, more)], capture_output=True, text=True, timeout=300)
        self.assertEqual(run.returncode, status, run.stderr)
        self.said = run.stdout + run.stderr
        return np.array(json.loads((self.folder / "scores.jsonl").read_text())["token_logprobs_nats"]) if status == 0 else None

    def intervention(self, *edits):
        path = self.folder / "edit.json"
        path.write_text(json.dumps({"format": "fare-intervention/1", "name": "edit", "edits": list(edits)}))
        return path

    def close(self, found, logits):
        log_p = logits - np.log(np.exp(logits - logits.max(-1, keepdims=True)).sum(-1, keepdims=True)) - logits.max(-1, keepdims=True)
        np.testing.assert_allclose(found, log_p[np.arange(len(self.targets)), self.targets], rtol=0, atol=2e-4)

    def test_scores_and_routes_without_the_dense_layer(self):
        for name in ("deepseek_first_dense", "deepseek_v2_lite"):
            self.checkpoint(name)
            self.close(self.score("--trace", "routes"), self.expected["logits"].astype(np.float64))
            trace = load_file(self.folder / "scores.trace.safetensors")
            self.assertFalse([key for key in trace if key.startswith("layers.0.")])
            np.testing.assert_allclose(trace["layers.1.router_logits"], self.expected["router_logits.1"], rtol=0, atol=2e-4)
            np.testing.assert_array_equal(trace["layers.1.expert_ids"], self.expected["ids.1"])

    def test_a_mask_works_on_a_moe_layer_and_is_refused_on_a_dense_one(self):
        for name in ("deepseek_first_dense", "deepseek_v2_lite"):
            self.checkpoint(name)
            base = self.score()
            mask = {"op": "mask", "mode": "refill", "experts": [0, 3], "layers": [1]}
            masked = self.score("--trace", "routes", "--intervention", self.intervention(mask))
            self.assertGreater(np.abs(masked - base).max(), 1e-3)
            trace = load_file(self.folder / "scores.trace.safetensors")
            self.assertFalse(np.isin(trace["layers.1.expert_ids"], [0, 3]).any())
            receipt = json.loads((self.folder / "scores.receipt.json").read_text())
            self.assertEqual(list(receipt["layers"]), ["1"])
            self.score("--intervention", self.intervention({**mask, "layers": [0]}), status=1)
            for part in ("edit 0 (mask)", "layer 0 is dense, it has no router; MoE layers are 1"):
                self.assertIn(part, self.said)

    def test_shared_experts_can_be_scaled_where_there_are_some(self):
        half = {"op": "shared_scale", "factor": 0.5, "layers": "all"}
        self.checkpoint("deepseek_v2_lite")
        base = self.score()
        self.assertGreater(np.abs(self.score("--intervention", self.intervention(half)) - base).max(), 1e-3)
        self.checkpoint("deepseek_no_shared_experts")
        self.score("--intervention", self.intervention(half), status=1)
        self.assertIn("no shared expert", self.said)

    def test_a_model_without_routers(self):
        self.checkpoint("deepseek_dense_model")
        self.close(self.score(), self.expected["logits"].astype(np.float64))
        self.score("--intervention", self.intervention({"op": "set_top_k", "k": 1, "layers": "all"}), status=1)
        self.assertIn("no MoE layer", self.said)

    def test_ignore_scale_factor(self):
        self.checkpoint("deepseek_v2_linear_scale_factor")
        on, off = self.score(), self.score("--ignore-scale-factor")
        self.close(on, self.expected["logits"].astype(np.float64))
        self.assertGreater(np.abs(on - off).max(), 1e-2)
        self.checkpoint("deepseek_v2_linear")
        np.testing.assert_array_equal(self.score(), self.score("--ignore-scale-factor"))
        self.assertIn("--ignore-scale-factor changes nothing", self.said)


if __name__ == "__main__":
    unittest.main()
