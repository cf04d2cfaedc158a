"""Compares the demo's verdicts with the answers that were planted.

  python3 scripts/check_demo.py OUT      reads OUT/runs/ID/report.json and OUT/models/ID/world.json

Prints one line per model, found against planted, and ends with status 1 when they differ. What a build does not run
(upper bounds, generation transfer) is left out as world.json says it: `headline_without_upper_bounds` and
`headline_without_generation`. Standard library only.
"""

import json
import sys
from pathlib import Path


def planted(world, report):
    """The (code, stage) that a right diagnosis gives; stage is None where the code says it all."""
    expected = world["expected"]
    answers = [{"code": expected["headline"]}]
    bounds_run = any(
        row["bound"].startswith("a6") and row["upper_bound_pp"] is not None for row in (report["reach"] or {}).get("rows", [])
    )
    if not bounds_run:
        answers.append(expected["headline_without_upper_bounds"])
    if report["generation"] is None:
        answers.append(expected["headline_without_generation"])
    changed = [answer for answer in answers if answer["code"] != expected["headline"]]
    answer = changed[0] if changed else answers[0]
    return answer["code"], answer.get("stage")


def offences(world, report):
    """Yields a sentence for each way in which the report differs from what was planted."""
    headline = report["headline"]
    code, stage = planted(world, report)
    if headline["code"] != code:
        yield f"the verdict is {headline['code']}, not {code}"
    elif stage is not None and headline["stage"] != stage:
        yield f"it is unresolved at stage {headline['stage']}, not at stage {stage}"
    for row in report["stages"]:
        if row["candidate"] != headline["candidate"] or row["control_class"] != "static":
            continue
        right = world["expected"]["stages"].get(str(row["stage"]), "any")
        if row["answer"] in ("yes", "no") and right != "any" and row["answer"] != right:
            yield f"stage {row['stage']} is {row['answer']}, not {right}"
        if row["stage"] < (headline["stage"] if code == "unresolved" else -1) and row["answer"] != right != "any":
            yield f"stage {row['stage']}, before the one in doubt, is {row['answer']}, not {right}"
    if code == "unresolved" and stage == 2 and headline["mde_pp"] is None:
        yield "it does not say how small a shift would have been seen"
    top = world["expected"]["top_experts"]
    if top:
        best = sorted(report["experts"], key=lambda row: row["combined_rank"])[: len(top)]
        found = {(row["layer"], row["expert"]) for row in best}
        if found != {(row["layer"], row["expert"]) for row in top}:
            yield f"the top experts are {sorted(found)}"


def main():
    out = Path(sys.argv[1])
    wrong = 0
    for run in sorted((out / "runs").iterdir()):
        world = json.loads((out / "models" / run.name / "world.json").read_text())
        report = json.loads((run / "report.json").read_text())
        code, stage = planted(world, report)
        headline = report["headline"]
        at = "" if headline["stage"] is None or code != "unresolved" else f" at stage {headline['stage']}"
        found = sorted(set(offences(world, report)))
        wrong += bool(found)
        print(f"{run.name} ({world['name']}): found {headline['code']}{at}, {'as planted' if not found else 'WRONG'}")
        if code != world["expected"]["headline"]:
            print(f"   planted: {world['expected']['headline']}; without the parts this build does not run: {code} at stage {stage}")
        print(f"   {headline['sentence']}")
        for sentence in found:
            print(f"   WRONG: {sentence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
