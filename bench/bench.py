"""What the rows of the table share: options, models, runs of fare, peers, rounds.

A row is fare's time for a work over a peer's for the same work. Opening the model is measured apart and left out on both
sides. Rounds alternate, so load on the machine touches both; a ratio is that of the medians, its range that of the rounds.
"""

import gzip
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field

import crows_pairs
from peer import Peer

ROOT = pathlib.Path(__file__).resolve().parent.parent
VOCABULARY = "tokenizers/olmo/allenai_eleuther-ai-gpt-neox-20b-pii-special.json.gz"
SHAPES = {  # random checkpoints
    "mid": dict(hidden=1024, layers=8, experts=64, top_k=8, expert_width=512, heads=16, vocab=50304),
    "small": dict(hidden=256, layers=4, experts=16, top_k=4, expert_width=256, heads=8, vocab=320),
}
# Share of the minutes that a row's further rounds may take in one working type.
SHARE = {"P1": 0.12, "P2": 0.10, "P3": 0.12, "P9": 0.03}
# Seconds that a row takes with one round, preparations included, on two cores of the machine of docs/performance.md; bf16 takes
# BF16 times these. A row that would not end in time is not begun.
NEEDS = {"P1": 170, "P2": 300, "P3": 260, "P9": 75, "P6": 8, "P8": 100, "P10": 130}
NEEDS_QUICK = {"P1": 12, "P2": 25, "P3": 20, "P9": 12, "P6": 3, "P8": 12, "P10": 25}
BF16 = 0.65


@dataclass
class Model:
    folder: pathlib.Path
    dtype: str  # f32 | bf16
    shape: dict
    weight_bytes: int


@dataclass
class Row:
    """One line of the table. Seconds are those of the whole work, a sampled peer's extrapolated."""
    name: str
    work: str
    dtype: str
    fare_seconds: float
    peers: dict  # name of the peer -> {"seconds", "ratio", "range": [lowest, highest], "setting"}
    check: str   # how far the results agree
    notes: list = field(default_factory=list)    # sentences below the table
    rounds: list = field(default_factory=list)
    values: dict = field(default_factory=dict)   # further figures


class Bench:
    def __init__(self, options, data):
        self.options, self.data = options, data
        self.quick, self.full, self.threads = options.quick, options.full, options.threads
        self.out = ROOT / "out" / "bench"
        self.out.mkdir(parents=True, exist_ok=True)
        self.deadline = time.monotonic() + options.minutes * 60 if not options.full else float("inf")
        self.pace = 1.0  # seconds that the last row took over those of NEEDS, at least 1
        self.not_begun = []

    def seconds_left(self):
        return self.deadline - time.monotonic()

    def usual_seconds(self, name, dtype):
        return (NEEDS_QUICK if self.quick else NEEDS)[name] * (BF16 if dtype == "bf16" else 1)

    def ends_in_time(self, name, dtype):
        """Whether the row would; if not, it is noted and said."""
        seconds, left = self.pace * self.usual_seconds(name, dtype), max(0, self.seconds_left())
        if seconds > left:
            self.not_begun.append(f"{name} {dtype}".strip())
            print(f"NOT BEGUN: {name} {dtype}: about {seconds:.0f} s, and {left:.0f} s are left of --minutes", flush=True)
        return seconds <= left

    def timed(self, name, dtype, measure):
        """measure(), or None where the row would not end in time."""
        if not self.ends_in_time(name, dtype):
            return None
        begin = time.monotonic()
        try:
            return measure()
        finally:
            took = time.monotonic() - begin
            self.pace = max(1.0, took / self.usual_seconds(name, dtype))
            print(f"   {name} {dtype} took {took:.0f} s", flush=True)

    def pick(self, quick, usual, full=None):
        """The size of a work, by how thorough this run is."""
        return quick if self.quick else (usual if full is None or not self.full else full)

    def run(self, command, statuses=(0,)):
        """Runs a program; returns (seconds, peak resident bytes). Its output is shown when it fails."""
        command = [str(part) for part in command]
        log = self.out / "program.log"
        with open(log, "w", encoding="utf-8") as output:
            start = time.perf_counter()
            process = subprocess.Popen(command, stdout=output, stderr=output, env=dict(os.environ, OMP_NUM_THREADS=str(self.threads)))
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in statuses:
            sys.exit(f"{' '.join(command)} ended with status {process.returncode}:\n{log.read_text()}")
        return seconds, usage.ru_maxrss * 1024

    def fare(self, command, model, *flags):
        """Runs a command of fare on a model; returns (seconds, peak resident bytes)."""
        return self.run([self.options.fare, command, "--model", model.folder, "--dtype", model.dtype, "--threads", self.threads, "--quiet",
                         *flags])

    def opening_seconds(self, model):
        """A run of one request of two tokens."""
        requests = self.out / "one.jsonl"
        crows_pairs.write_requests(requests, [[5, 6]])
        return self.fare("score", model, "--requests", requests, "--out", self.out / "one_scores.jsonl")[0]

    def make_model(self, name, dtype, shape, words=False):
        """A random OLMoE. words: with the vocabulary of OLMoE (50,280 entries) instead of a byte-level one of 258."""
        folder = self.out / "models" / f"{name}-{dtype}"
        shutil.rmtree(folder, ignore_errors=True)
        self.run([self.options.fare, "lab", "make", "random", "--family", "olmoe", "--out", folder, "--dtype", dtype, "--threads", self.threads]
                 + [part for key, value in shape.items() for part in ("--" + key.replace("_", "-"), value)])
        if words:
            (folder / "tokenizer.json").write_bytes(gzip.decompress((self.data / VOCABULARY).read_bytes()))
        return Model(folder, dtype, shape, sum(file.stat().st_size for file in folder.glob("*.safetensors")))

    def race(self, name, fare, peers):
        """Rounds of fare and every peer in turn. fare: () -> seconds of the whole work; peers: label -> (peer, () -> seconds).
        Returns the rounds: {"load", "fare", label: .. of every peer}."""
        begin, rounds = time.monotonic(), []
        while len(rounds) < self.options.rounds:
            used, share = time.monotonic() - begin, SHARE[name] * self.options.minutes * 60
            if rounds and (used * (len(rounds) + 1) / len(rounds) > share or 3 * used / len(rounds) > self.seconds_left()):
                break
            this = {"fare": fare()}
            for label, (peer, seconds) in peers.items():
                this[label] = seconds()
                peer.check_same_priority()
            this["load"] = os.getloadavg()[0]
            rounds.append(this)
            print(f"   {name} round {len(rounds)}: fare {this['fare']:.2f} s, "
                  + ", ".join(f"{label} {this[label]:.2f} s ({this[label] / this['fare']:.2f}x)" for label in peers)
                  + f", load {this['load']:.1f}", flush=True)
        return rounds

    def row(self, name, work, dtype, rounds, settings, check, **more):
        """settings: label of the peer -> the setting it ran with."""
        fare = statistics.median(r["fare"] for r in rounds)
        peers = {}
        for label, setting in settings.items():
            ratios = [r[label] / r["fare"] for r in rounds]
            seconds = statistics.median(r[label] for r in rounds)
            peers[label] = {"seconds": seconds, "ratio": seconds / fare, "range": [min(ratios), max(ratios)], "setting": setting}
        return Row(name, work, dtype, fare, peers, check, rounds=rounds, **more)


def net(seconds, opening_seconds):
    """Time of a run without opening the model."""
    return max(seconds - opening_seconds, 1e-3)


def available_bytes():
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def fast_mkl_stub(bench):
    """A library that tells MKL it runs on a processor it may be fast on; None, with a sentence, without a C compiler."""
    source, library = bench.out / "mkl_is_fast.c", bench.out / "mkl_is_fast.so"
    source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\nint mkl_serv_intel_cpu(void) { return 1; }\n")
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        print("SKIPPED: no C compiler, so no peer with MKL's fast path")
        return None
    bench.run([compiler, "-shared", "-fPIC", "-o", library, source])
    return library


def start_peers(bench, model):
    """label -> Peer: `transformers` as installed, and in f32 once more with MKL's fast path forced."""
    peers = {"peer": Peer(model, bench)}
    if model.dtype == "f32" and not bench.options.no_mklfix:
        stub = fast_mkl_stub(bench)
        if stub and available_bytes() < 4 * model.weight_bytes:
            print("SKIPPED: too little memory for a second peer with MKL's fast path")
        elif stub:
            peers["mklfix"] = Peer(model, bench, preload=stub)
    return peers
