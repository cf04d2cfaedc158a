"""Writes cases.json: routing distances of pairs of tokens and a regression, computed with scipy and numpy.

  python3 make_golden.py > cases.json        numpy, scipy (requirements-test.txt)
"""

import json

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import softmax
from scipy.stats import entropy

rng = np.random.default_rng(11)


def distances(z, y, k, renormalised):
    p, q = softmax(z), softmax(y)
    top, other = np.argsort(-p, kind="stable")[:k], np.argsort(-q, kind="stable")[:k]
    g, h = p[top], q[other]
    if renormalised:
        g, h = g / g.sum(), h / h.sum()
    shares = [dict(zip(map(int, ids), w / w.sum())) for ids, w in ((top, g), (other, h))]
    floored = [np.maximum(d, 1e-8) for d in (p, q)]
    return {
        "logits": [z.tolist(), y.tolist()], "ids": [top.tolist(), other.tolist()], "weights": [g.tolist(), h.tolist()],
        "js": float(jensenshannon(p, q, base=2) ** 2),
        "total_variation": float(np.abs(p - q).sum() / 2),
        "symmetric_kl": float((np.sum(floored[0] * np.log2(floored[0] / floored[1]))
                               + np.sum(floored[1] * np.log2(floored[1] / floored[0]))) / 2),
        "set_distance": 1 - len(set(top) & set(other)) / len(set(top) | set(other)),
        "weighted_distance": 1 - sum(min(shares[0].get(e, 0), shares[1].get(e, 0)) for e in range(len(z))),
        "logit_shift": float(np.linalg.norm(z - y) / np.sqrt((np.var(z) + np.var(y)) / 2)),
        "kl_check": float((entropy(p, q, base=2) + entropy(q, p, base=2)) / 2),
    }


def regression(n):
    distance, log_frequency = rng.normal(3, 1, n), rng.normal(-7, 2, n)
    length = rng.integers(1, 4, n).astype(float)
    demographic = (np.arange(n) % 3 == 0).astype(float)
    y = 0.01 + 0.004 * distance - 0.002 * log_frequency + 0.003 * length + 0.02 * demographic + rng.normal(0, 0.005, n)
    scale = lambda v: (v - v.mean()) / v.std(ddof=1)
    x = np.column_stack([np.ones(n), scale(distance), scale(log_frequency), scale(length), demographic])
    beta = np.linalg.lstsq(x, y, rcond=None)[0]
    return {"distance": distance.tolist(), "log_frequency": log_frequency.tolist(), "length": length.tolist(),
            "demographic": demographic.tolist(), "y": y.tolist(), "beta": beta.tolist()}


cases = []
for width, k, spread in ((4, 2, 1.0), (8, 2, 3.0), (16, 4, 0.3), (6, 1, 12.0)):
    for renormalised in (True, False):
        z = np.float32(rng.normal(0, spread, width)).astype(float)
        cases.append(distances(z, np.float32(z + rng.normal(0, spread / 2, width)).astype(float), k, renormalised))
print(json.dumps({"distances": cases, "regression": regression(60)}, indent=1))
