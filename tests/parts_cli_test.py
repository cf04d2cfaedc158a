"""Runs `fare probe` and `fare mask` as a user would, on a control model, and draws their pages again.

  FARE=build/fare python3 tests/parts_cli_test.py        standard library only
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

FARE = os.environ.get("FARE", "build/fare")
SIZE = ["--pairs", "192", "--transfer-pairs", "24", "--facts", "144", "--utility", "200", "--prompts", "20"]
failures = []


def check(name, good, detail=""):
    if not good:
        failures.append(name)
        print(f"  BAD {name} {detail}", flush=True)


def run(*arguments, status=0, says=()):
    done = subprocess.run([FARE, *map(str, arguments)], capture_output=True, text=True, timeout=560)
    text = done.stdout + done.stderr
    missing = [part for part in says if part not in text]
    check(" ".join(map(str, arguments)), done.returncode == status and not missing,
          f"\n    status {done.returncode}, expected {status}; missing {missing}\n    {text[-1500:]}")
    return done


def bare_nulls(value, place="report"):
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from bare_nulls(item, f"{place}[{index}]")
    if isinstance(value, dict):
        for key, item in value.items():
            if item is None and not value.get(key + "_reason"):
                yield f"{place}.{key}"
            yield from bare_nulls(item, f"{place}.{key}")


def report_of(folder, wanted):
    report = json.loads((folder / "report.json").read_text())
    check(f"{folder.name} has its format", report["format"] == wanted, report["format"])
    check(f"{folder.name}: no null without a reason", not list(bare_nulls(report)), list(bare_nulls(report))[:3])
    page = (folder / "report.html").read_text()
    check(f"{folder.name}: the page holds the sentence", report["sentence"].split(":")[0][:40] in page)
    return report


def main():
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        model = scratch / "model"
        run("lab", "make", "X12", "--out", model, *SIZE)
        common = ["--model", model, "--pairs", model / "pairs.jsonl", "--threads", 1, "--matmul", "onednn", "--quiet"]
        neutral, utility = ["--neutral", model / "neutral.jsonl"], ["--utility", model / "utility.jsonl"]

        run("probe", *common, *neutral, "--out", scratch / "probe", says=["Sensitive to demographic words: yes"])
        probe = report_of(scratch / "probe", "fare-probe/1")
        check("probe reads all pairs", probe["sensitivity"]["rows"][0]["n"] > 0 and probe["answer"] == "yes")
        check("probe has every span", {row["span"] for row in probe["sensitivity"]["statistics"]} == {"Q", "D", "P"})
        check("probe has the router's profile", len(probe["router_profile"]["layers"]) == 3)
        for table in ("sensitivity", "sensitivity_statistics", "sensitivity_experts", "router_profile"):
            check(f"probe writes {table}.csv", (scratch / "probe/tables" / f"{table}.csv").is_file())

        # Pairs alone will do; without nulls none can be built here, and it says so.
        lone = scratch / "pairs.jsonl"
        lines = (model / "pairs.jsonl").read_text().splitlines()
        lone.write_text("\n".join(line for line in lines if '"null_' not in line) + "\n")
        common[3] = lone
        run("probe", *common, "--out", scratch / "alone")
        alone = report_of(scratch / "alone", "fare-probe/1")
        check("no neutral text is a stated answer", alone["router_profile"] is None)
        nulls = {row["null"]: row for row in alone["data"]["nulls"]}
        for null in ("N1", "N2"):  # With word lists at hand or without: every pair was tried, and what found no null says why.
            row = nulls[null]
            check(f"what could not be built of {null} is counted", row["source"] == "built"
                  and row["pairs"] + row["missing"] == 48 and ("192 pairs: no " in row["note"] or row["pairs"] > 0), row)
        check("a language without equivalent phrases has no paraphrases",
              nulls["N3"]["pairs"] == 0 and nulls["N3"]["note"] == "192 pairs: no phrase of both texts has an equivalent", nulls)
        common[3] = model / "pairs.jsonl"

        run("mask", *common, *neutral, *utility, "--mask-size", 2, "--out", scratch / "mask", says=["through routing"])
        mask = report_of(scratch / "mask", "fare-mask/1")
        check("the conclusion is that of the model", mask["masking"]["conclusion"] == "through_routing", mask["sentence"])
        top = next(g for g in mask["masking"]["groups"] if (g["group"], g["mode"], g["m"]) == ("T", "refill", 2))
        check("at least 80% of the drop is mediated", top["mediated_pp"] >= 0.8 * top["drop_pp"] > 0, top)
        check("every mode was run", mask["masking"]["modes_run"] == ["refill", "renormalize", "zero", "mean", "resample"])

        before = (scratch / "mask/report.html").read_bytes()
        (scratch / "mask/report.html").unlink()
        run("report", scratch / "mask")
        check("fare report draws the page again", (scratch / "mask/report.html").read_bytes() == before)
        # Started again it continues, and says the same.
        first = mask["masking"]
        run("mask", *common, *neutral, *utility, "--mask-size", 2, "--out", scratch / "mask")
        check("a second start gives the same", report_of(scratch / "mask", "fare-mask/1")["masking"] == first)
        run("mask", *common, *neutral, *utility, "--mask-size", 3, "--out", scratch / "mask", status=1, says=["mask-size"])

        run("mask", *common, *neutral, "--out", scratch / "none", status=2, says=["--utility"])
        run("mask", *common, *utility, "--mask-size", 0, "--out", scratch / "none", status=2, says=["--mask-size"])
        run("probe", "--model", model, "--out", scratch / "none", status=2, says=["--pairs or --tasks"])
    print(f"{len(failures)} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
