"""Writes scipy.json: values of SciPy and NumPy that the statistics tests compare with. See README.md beside it."""
import itertools
import json
import pathlib

import numpy as np
import scipy
from scipy import stats

rng = np.random.default_rng(20240601)
out = {"scipy": scipy.__version__, "numpy": np.__version__}

out["normal"] = [[z, stats.norm.cdf(z), stats.norm.sf(z)] for z in (-8.0, -5.5, -1.0, 0.3, 4.0, 8.0)]
out["student_t"] = [[t, df, stats.t.sf(t, df)] for t in (-2.5, 0.01, 1.0, 6.0, 40.0) for df in (1.0, 4.5, 30.0, 1000.0)]
out["gamma_q"] = [[a, x, scipy.special.gammaincc(a, x)] for a in (0.5, 3.0, 50.0) for x in (0.1, 3.0, 60.0)]
out["binomial_test"] = [[k, n, p, stats.binomtest(k, n, p).pvalue]
                        for n in (1, 10, 37, 600) for p in (0.5, 0.1, 0.73) for k in sorted({0, 1, n // 3, n // 2, n})]
out["intervals"] = []
for k, n, conf in ((0, 7, 0.9), (3, 7, 0.9), (7, 7, 0.99), (250, 1000, 0.95)):
    test = stats.binomtest(k, n)
    for method in ("wilson", "exact"):
        ci = test.proportion_ci(conf, method)
        out["intervals"].append([method, k, n, conf, ci.low, ci.high])

x = rng.integers(0, 12, 40).astype(float)
y = 0.5 * x + rng.integers(0, 9, 40)
z = rng.integers(0, 6, 40) + 0.3 * y
rank = lambda v: stats.rankdata(v) - (len(v) + 1) / 2
design = np.column_stack([rank(z)])
residual = lambda v: rank(v) - design @ np.linalg.lstsq(design, rank(v), rcond=None)[0]
out["ranks"] = {"x": x.tolist(), "y": y.tolist(), "z": z.tolist(), "rank_x": stats.rankdata(x).tolist(),
                "spearman": stats.spearmanr(x, y).statistic,
                "partial": float(np.corrcoef(residual(x), residual(y))[0, 1])}

d = np.round(rng.normal(0.3, 1, 11), 3)
signs = np.array(list(itertools.product([1, -1], repeat=len(d))))
sums = signs @ d
out["sign_flip"] = {"d": d.tolist(), "two_sided": float(np.mean(np.abs(sums) >= abs(d.sum()) - 1e-12)),
                    "greater": float(np.mean(sums >= d.sum() - 1e-12)), "less": float(np.mean(sums <= d.sum() + 1e-12))}

groups = [np.round(rng.normal(m, 1, n), 3).tolist() for m, n in ((0, 4), (0.5, 7), (1, 2), (0, 5))]
out["anova"] = {"groups": groups, "f": stats.f_oneway(*groups).statistic}

p = np.round(rng.uniform(0, 0.3, 12), 4)
out["multiplicity"] = {"p": p.tolist(), "bh": stats.false_discovery_control(p, method="bh").tolist(),
                       "by": stats.false_discovery_control(p, method="by").tolist()}

a, b = rng.dirichlet(np.ones(9)), rng.dirichlet(np.ones(9))
out["jensen_shannon"] = {"p": a.tolist(), "q": b.tolist(),
                         "distance_bits": scipy.spatial.distance.jensenshannon(a, b, base=2)}

values = np.round(rng.normal(0, 1, 9), 3)
out["expected_best"] = {"values": values.tolist(),
                        "best": [float(np.mean([max(c) for c in itertools.combinations(values, k)])) for k in range(1, 10)]}

pathlib.Path(__file__).with_name("scipy.json").write_text(json.dumps(out, indent=1) + "\n")
