"""P8: `fare score` by two MPI ranks of one core each against one rank of one core; f32, random token ids.

Both are started by mpirun with a core for each rank; of each the shortest of the rounds counts, less the shortest opening.
"""

import math
import shutil

import crows_pairs
from bench import net
from scaling import SHAPE, random_pairs


def measure(bench):
    """{"seconds": [one rank, two ranks], "ratio"}, or None with a sentence."""
    if shutil.which("mpirun") is None:
        print("SKIPPED: P8: there is no mpirun; install openmpi-bin")
        return None
    model = bench.make_model("ranks", "f32", SHAPE)
    work, none = bench.out / "ranks.jsonl", bench.out / "ranks_none.jsonl"
    crows_pairs.write_requests(work, crows_pairs.sentences_of(random_pairs(bench.pick(200, 1500), 32, SHAPE["vocab"])))
    crows_pairs.write_requests(none, [[5, 6]])

    def seconds(ranks, requests):
        return bench.run(["mpirun", "--allow-run-as-root", "--bind-to", "core", "-n", ranks, bench.options.fare, "score", "--model", model.folder,
                          "--threads", 1, "--unit-rows", 1024, "--quiet", "--requests", requests, "--out", bench.out / f"ranks{ranks}.out.jsonl"])[0]

    best = {key: math.inf for key in ((1, none), (2, none), (1, work), (2, work))}
    for _ in range(bench.pick(1, 3)):
        for key in best:
            best[key] = min(best[key], seconds(*key))
    if (bench.out / "ranks1.out.jsonl").read_bytes() != (bench.out / "ranks2.out.jsonl").read_bytes():
        raise SystemExit("P8: two ranks give other scores than one")
    one, two = (net(best[ranks, work], best[ranks, none]) for ranks in (1, 2))
    print(f"-- P8: one rank {one:.2f} s, two {two:.2f} s ({one / two:.2f}x)", flush=True)
    return {"seconds": [one, two], "ratio": one / two}
