"""The peer in a process of its own: `transformers` with hooks on its routers, and lm-evaluation-harness over the same model.

Reads one JSON object a line from stdin ({"command": NAME, ..}), answers one JSON line on stdout, ends with stdin:
  score     sentences [[ids], ..], batch, experts, [trace FILE], [edit {"layer", "expert"}]  -> seconds, scores
            Right padding after sorting by length. Seconds: from ids to scores and a written trace. The edit's expert gets a
            router logit of minus infinity.
  harness   samples {task: [question, ..]}, batch, experts  -> seconds, requests, fed_tokens, scores {task: [[nats, ..], ..]}
  generate  prompts [[ids], ..], new_tokens, experts  -> seconds, texts [[ids], ..]   greedy, left padding, one batch
  gaps      cases [[ids, a, b], ..]  -> gaps: by how much the logit of a after ids exceeds that of b
  roof      -> gflops       best of both libraries on one large product
  peak      -> bytes        high-water mark of resident memory
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def peak_bytes():
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


class Worker:
    def __init__(self, folder, dtype, threads, prefix_token, data):
        import torch
        from transformers import AutoModelForCausalLM

        self.torch, self.dtype, self.folder, self.prefix_token, self.data = torch, getattr(torch, dtype), folder, prefix_token, data
        torch.set_num_threads(threads)
        start = time.perf_counter()
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=self.dtype).eval()
        self.load_seconds = time.perf_counter() - start
        self.keep = None   # rows of the current batch that are no padding
        self.trace = None  # layer -> (logits, ids, weights) of every batch so far
        self.edit = None
        self.harness_tasks = None
        for index, layer in enumerate(self.model.model.layers):
            layer.mlp.gate.register_forward_hook(self.hook(index))

    def hook(self, layer):
        def route(_module, _inputs, output):
            logits, weights, ids = output
            if self.edit and self.edit["layer"] == layer:
                logits = logits.clone()
                logits[:, self.edit["expert"]] = -float("inf")
                chosen, ids = logits.softmax(-1, dtype=self.torch.float).topk(ids.shape[1], dim=-1)
                weights = chosen.to(weights.dtype)  # OLMoE's weights are not divided by their sum
            if self.trace is not None:
                parts = self.trace.setdefault(layer, ([], [], []))
                parts[0].append(logits[self.keep].float())
                parts[1].append(ids[self.keep].int())
                parts[2].append(weights[self.keep].float())
            return logits, weights, ids
        return route

    def score(self, sentences, batch, experts, trace=None, edit=None):
        torch = self.torch
        self.model.set_experts_implementation(experts)
        self.trace, self.edit = ({} if trace else None), edit
        start = time.perf_counter()
        order = sorted(range(len(sentences)), key=lambda i: -len(sentences[i]))
        scores = [0.0] * len(sentences)
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
        if trace:
            from safetensors.torch import save_file
            names = ("router_logits", "expert_ids", "expert_weights")
            save_file({f"layers.{layer}.{name}": torch.cat(part) for layer, parts in self.trace.items()
                       for name, part in zip(names, parts)}, trace)
        self.trace = self.edit = None
        return {"seconds": time.perf_counter() - start, "scores": scores}

    def harness(self, samples, batch, experts):
        sys.path.insert(0, str(ROOT / "tests" / "golden" / "harness_requests"))
        import lm_eval
        import make  # reads the harness's data sets from the files at hand
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager
        from transformers import AutoTokenizer

        make.read_records_at_hand(self.data)
        self.model.set_experts_implementation(experts)
        self.harness_tasks = self.harness_tasks or TaskManager()
        tokenizer = AutoTokenizer.from_pretrained(self.folder)
        reference = HFLM(pretrained=self.model, tokenizer=tokenizer, batch_size=batch, device="cpu")
        start = time.perf_counter()
        results = lm_eval.simple_evaluate(model=reference, tasks=list(samples), samples=samples, bootstrap_iters=0,
                                          task_manager=self.harness_tasks)
        seconds = time.perf_counter() - start
        scores, fed, requests = {}, 0, 0
        for task in samples:
            documents = sorted(results["samples"][task], key=lambda document: document["doc_id"])
            scores[task] = [[float(value) for value, _ in document["filtered_resps"]] for document in documents]
            for document in documents:
                requests += len(document["arguments"])
                fed += sum(len(tokenizer.encode(context + continuation)) - 1 for context, continuation in document["arguments"])
        return {"seconds": seconds, "requests": requests, "fed_tokens": fed, "scores": scores}

    def generate(self, prompts, new_tokens, experts):
        torch, config = self.torch, self.model.config
        self.model.set_experts_implementation(experts)
        start = time.perf_counter()
        width = max(map(len, prompts))
        ids = torch.full((len(prompts), width), config.pad_token_id)
        mask = torch.zeros_like(ids)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt):], mask[row, width - len(prompt):] = torch.tensor(prompt), 1
        out = self.model.generate(input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=new_tokens)[:, width:].tolist()
        seconds, end = time.perf_counter() - start, config.eos_token_id
        return {"seconds": seconds, "texts": [text[:text.index(end) + 1] if end in text else text for text in out]}

    def gaps(self, cases):
        gaps = []
        for ids, a, b in cases:
            logits = self.model(input_ids=self.torch.tensor([ids])).logits[0, -1].float()
            gaps.append(float(logits[a] - logits[b]))
        return {"gaps": gaps}

    def roof(self):
        return {"gflops": measure_roof(self.torch, self.dtype)}

    def peak(self):
        return {"bytes": peak_bytes()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--prefix-token", type=int, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no answer
        worker = Worker(arguments.model, arguments.dtype, arguments.threads, arguments.prefix_token, arguments.data)
        print(json.dumps({"load_seconds": worker.load_seconds}), file=answers, flush=True)
        with worker.torch.inference_mode():
            for line in sys.stdin:
                command = json.loads(line)
                print(json.dumps(getattr(worker, command.pop("command"))(**command)), file=answers, flush=True)


if __name__ == "__main__":
    main()
