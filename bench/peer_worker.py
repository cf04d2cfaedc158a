"""The peer in a process of its own: scores sentences with `transformers`, hooks on every router, right padding.

Reads one JSON command a line from stdin, answers one JSON line on stdout:
  {"run": [[ids], ..], "batch": 64, "experts": "eager", "trace": FILE or null}
      -> {"seconds", "scores", "peak_bytes"}   seconds: from ids to scores and a written trace
  {"roof": true} -> {"gflops"}                 best of both libraries on one large product
  {"quit": true}
"""

import argparse
import contextlib
import json
import pathlib
import sys
import time


def peak_bytes():
    """High-water mark of resident memory of this process."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def measure_roof(torch, dtype):
    """GFLOP/s of x [2048, 2048] times w [1024, 2048]^T: the faster of ATen's product and oneDNN's, best of 5 each."""
    x, w = torch.randn(2048, 2048).to(dtype), torch.randn(1024, 2048).to(dtype)
    products = [lambda: torch.nn.functional.linear(x, w),
                lambda: torch.ops.mkldnn._linear_pointwise(x, w, None, "none", [], "")]
    best = 0.0
    for product in products:
        product()
        for _ in range(5):
            start = time.perf_counter()
            product()
            best = max(best, 2 * 2048 * 2048 * 1024 / (time.perf_counter() - start) / 1e9)
    return best


class Peer:
    def __init__(self, folder, dtype, threads, prefix_token):
        import torch
        from transformers import AutoModelForCausalLM

        self.torch, self.dtype, self.prefix_token = torch, getattr(torch, dtype), prefix_token
        torch.set_num_threads(threads)
        start = time.perf_counter()
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=self.dtype).eval()
        self.load_seconds = time.perf_counter() - start
        self.keep = None  # rows of the current batch that are no padding
        self.trace = {}
        for index, layer in enumerate(self.model.model.layers):
            layer.mlp.gate.register_forward_hook(self.hook(index))

    def hook(self, layer):
        def remember(_module, _inputs, output):
            logits, weights, ids = output
            parts = self.trace.setdefault(layer, ([], [], []))
            parts[0].append(logits[self.keep].float())
            parts[1].append(ids[self.keep].int())
            parts[2].append(weights[self.keep].float())
        return remember

    def run(self, sentences, batch, experts, trace_file):
        torch = self.torch
        self.model.set_experts_implementation(experts)
        self.trace = {}
        start = time.perf_counter()
        order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i]))
        scores = [0.0] * len(sentences)
        with torch.inference_mode():
            for first in range(0, len(order), batch):
                chunk = order[first:first + batch]
                width = len(sentences[chunk[0]])
                ids = torch.zeros(len(chunk), width, dtype=torch.long)
                target = torch.zeros(len(chunk), width, dtype=torch.long)
                mask = torch.zeros(len(chunk), width, dtype=torch.long)
                for row, i in enumerate(chunk):
                    sentence = torch.tensor(sentences[i])
                    n = len(sentence)
                    ids[row, 0], ids[row, 1:n] = self.prefix_token, sentence[:-1]
                    target[row, :n], mask[row, :n] = sentence, 1
                self.keep = mask.reshape(-1).bool()
                logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
                kept = logits.reshape(-1, logits.shape[-1])[self.keep].float()
                chosen = kept.gather(1, target.reshape(-1)[self.keep].unsqueeze(1)).squeeze(1)
                tokens = torch.zeros(len(chunk) * width, dtype=torch.double)
                tokens[self.keep] = (chosen - kept.logsumexp(-1)).double()
                for i, value in zip(chunk, tokens.reshape(len(chunk), width).sum(1).tolist()):
                    scores[i] = value
        if trace_file:
            from safetensors.torch import save_file
            names = ("router_logits", "expert_ids", "expert_weights")
            save_file({f"layers.{layer}.{name}": torch.cat(part) for layer, parts in self.trace.items()
                       for name, part in zip(names, parts)}, trace_file)
        self.trace = {}
        return {"seconds": time.perf_counter() - start, "scores": scores, "peak_bytes": peak_bytes()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prefix-token", type=int, required=True)
    arguments = parser.parse_args()
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no answer
        peer = Peer(arguments.model, arguments.dtype, arguments.threads, arguments.prefix_token)
        print(json.dumps({"load_seconds": peer.load_seconds, "peak_bytes": peak_bytes()}), file=answers, flush=True)
        for line in sys.stdin:
            command = json.loads(line)
            if command.get("quit"):
                break
            if command.get("roof"):
                answer = {"gflops": measure_roof(peer.torch, peer.dtype)}
            else:
                answer = peer.run(command["run"], command["batch"], command["experts"], command["trace"])
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
