"""A peer in a process of its own; peer_worker.py has its commands."""

import json
import os
import pathlib
import subprocess
import sys

import crows_pairs

WORKER = pathlib.Path(__file__).resolve().parent / "peer_worker.py"


class Peer:
    def __init__(self, model, bench, preload=None):
        """Opens `model`; `preload`: a library loaded before all others."""
        environment = {"GOMP_SPINCOUNT": "1000", **os.environ, "OMP_NUM_THREADS": str(bench.threads), "HF_HUB_OFFLINE": "1",
                       "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}  # fare waits so too
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        self.process = subprocess.Popen(
            [sys.executable, WORKER, "--model", model.folder, "--dtype", {"f32": "float32", "bf16": "bfloat16"}[model.dtype],
             "--threads", str(bench.threads), "--prefix-token", str(crows_pairs.PREFIX_TOKEN), "--data", bench.data],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(bench.out / "peer.log", "a"), text=True, env=environment)
        self.loaded = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the peer stopped with status {self.process.wait()} (out of memory?); out/bench/peer.log ends with the reason")
        return json.loads(line)

    def ask(self, command, **arguments):
        self.process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def check_same_priority(self):
        """A machine that lowers the priority of one side by its name would decide the comparison."""
        mine, peers = os.getpriority(os.PRIO_PROCESS, 0), os.getpriority(os.PRIO_PROCESS, self.process.pid)
        if mine != peers:
            sys.exit(f"this driver (and so fare) runs at nice {mine}, the peer at {peers}: start again with 'nice -n {max(mine, peers)}'")

    def stop(self):
        self.process.stdin.close()
        self.process.wait()
