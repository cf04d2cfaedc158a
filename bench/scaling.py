"""P10: cost against the number of pairs, edits, experts and tokens a text, each doubled four times; f32, random token ids.

Of every work the shortest of the rounds counts, less the shortest opening; sizes take turns. The exponent is the slope of log cost over
log size: 1 = linear. Draws docs/images/scaling.svg with --write.
"""

import math
import random
import statistics

import crows_pairs
from bench import ROOT, net
from edits import masks, timed_edits

SHAPE = dict(hidden=256, layers=6, experts=64, top_k=4, expert_width=128, heads=8, vocab=1024)
DOUBLINGS = 4
FIRST = {"pairs": 200, "edits": 8, "experts": 16, "tokens a text": 16}
FIXED = {"pairs": 200, "edits": 0, "experts": 64, "tokens a text": 32}
PICTURE = ROOT / "docs" / "images" / "scaling.svg"


def random_pairs(count, tokens, vocab):
    """Pairs that share their first half."""
    rng = random.Random(9)
    draw = lambda number: [rng.randrange(2, vocab) for _ in range(number)]
    pairs = []
    for _ in range(count):
        shared = draw(tokens // 2)
        pairs.append((shared + draw(tokens - tokens // 2), shared + draw(tokens - tokens // 2)))
    return pairs


def exponent(sizes, seconds):
    return statistics.linear_regression([math.log2(s) for s in sizes], [math.log2(t) for t in seconds]).slope


def measure(bench):
    """axis -> {"sizes", "seconds", "exponent"}."""
    first = {key: max(4, value // 4) for key, value in FIRST.items()} if bench.quick else FIRST
    fixed = {**FIXED, "pairs": 50} if bench.quick else FIXED
    many = {"experts": {"pairs": 4 * fixed["pairs"]}}  # the work itself does not grow here: opening must not hide it
    models, works = {}, {}
    for axis in FIRST:
        for step in range(DOUBLINGS + 1):
            size = first[axis] << step
            works[axis, size] = {**fixed, **many.get(axis, {}), axis: size}
    for work in works.values():
        if work["experts"] not in models:
            models[work["experts"]] = bench.make_model(f"scaling-{work['experts']}", "f32", {**SHAPE, "experts": work["experts"]})
    opening, best = {}, {}
    shortest = lambda times, key, seconds: times.update({key: min(times.get(key, math.inf), seconds)})
    for _ in range(bench.pick(1, 3)):
        for experts, model in models.items():
            shortest(opening, experts, bench.opening_seconds(model))
        for key, work in works.items():
            model, requests = models[work["experts"]], bench.out / "scaling.jsonl"
            pairs = random_pairs(work["pairs"], work["tokens a text"], SHAPE["vocab"])
            crows_pairs.write_requests(requests, crows_pairs.sentences_of(pairs))
            if work["edits"]:
                seconds = timed_edits(bench, model, masks(model.shape, work["edits"]), requests)
            else:
                seconds = bench.fare("score", model, "--requests", requests, "--out", bench.out / "scaling_scores.jsonl")[0]
            shortest(best, key, seconds)
    result = {}
    for axis in FIRST:
        sizes = [size for a, size in works if a == axis]
        seconds = [net(best[axis, size], opening[works[axis, size]["experts"]]) for size in sizes]
        result[axis] = {"sizes": sizes, "seconds": seconds, "exponent": exponent(sizes, seconds)}
        print(f"-- P10 {axis}: " + ", ".join(f"{n}: {t:.2f} s" for n, t in zip(sizes, seconds)) + f"; exponent {result[axis]['exponent']:.2f}",
              flush=True)
    return result


def draw(result, path):
    """Cost over the smallest size's, against size over the smallest, both in doublings; dashed: linear."""
    width, height, left, top, colours = 640, 400, 60, 24, ("#1b6ca8", "#c0392b", "#2e8b57", "#8e5ea2")
    inner_w, inner_h = width - left - 150, height - top - 56
    lowest = min(0, math.floor(min(math.log2(t / r["seconds"][0]) for r in result.values() for t in r["seconds"])))
    highest = max(DOUBLINGS, math.ceil(max(math.log2(t / r["seconds"][0]) for r in result.values() for t in r["seconds"])))
    x = lambda doublings: left + inner_w * doublings / DOUBLINGS
    y = lambda doublings: top + inner_h * (highest - doublings) / (highest - lowest)
    times = lambda doublings: f"{2.0 ** doublings:g}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
             "<title>Cost of fare score against the size of the work</title>", f'<rect width="{width}" height="{height}" fill="white"/>']
    for n in range(DOUBLINGS + 1):
        parts.append(f'<line x1="{x(n):.1f}" y1="{top}" x2="{x(n):.1f}" y2="{top + inner_h}" stroke="#ddd"/>'
                     f'<text x="{x(n):.1f}" y="{top + inner_h + 18}" text-anchor="middle">{times(n)}</text>')
    for n in range(lowest, highest + 1):
        parts.append(f'<line x1="{left}" y1="{y(n):.1f}" x2="{left + inner_w}" y2="{y(n):.1f}" stroke="#ddd"/>'
                     f'<text x="{left - 8}" y="{y(n) + 4:.1f}" text-anchor="end">{times(n)}</text>')
    parts.append(f'<line x1="{x(0)}" y1="{y(0):.1f}" x2="{x(DOUBLINGS)}" y2="{y(DOUBLINGS):.1f}" stroke="#555" stroke-dasharray="5 4"/>')
    for (axis, r), colour, place in zip(result.items(), colours, range(len(result))):
        points = [(x(math.log2(n / r["sizes"][0])), y(math.log2(t / r["seconds"][0]))) for n, t in zip(r["sizes"], r["seconds"])]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"/>' for a, b in points]
        parts.append(f'<text x="{left + inner_w + 12}" y="{top + 16 + 20 * place}" fill="{colour}">{axis}: {r["exponent"]:.2f}</text>')
    parts.append(f'<text x="{left + inner_w + 12}" y="{top + 16 + 20 * len(result)}" fill="#555">dashed: linear</text>')
    parts.append(f'<text x="{left + inner_w / 2}" y="{height - 10}" text-anchor="middle">size over the smallest</text>')
    parts.append(f'<text transform="translate(16 {top + inner_h / 2}) rotate(-90)" text-anchor="middle">time over the smallest\'s</text></svg>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")
