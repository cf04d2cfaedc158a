"""Instructions of the pieces that are ours and pure CPU, counted by callgrind: a regression check that no load disturbs.

    python bench/instructions.py --micro build/bench/micro [--write]

Compares with bench/instructions.json, which --write makes anew; ends with 1 when a piece takes a twentieth more than there.
Counts depend on compiler and standard library: made by others, they are shown and not judged. Needs valgrind.
"""

import argparse
import json
import pathlib
import platform
import re
import shutil
import subprocess
import sys

from bench import ROOT

KNOWN = pathlib.Path(__file__).resolve().parent / "instructions.json"
ALLOWED = 1.05
PIECES = {  # name -> (micro-benchmark, the function whose instructions count, callees included)
    "routing, 4,096 rows, 8 of 64 experts": ("BM_Route/64/8/real_time", "fare::route(*"),
    "packing, 3,016 sequences": ("BM_PackSequences/real_time", "fare::pack_sequences(*"),
    "order of 3,016 sequences": ("BM_PackSequences/real_time", "fare::prefix_order(*"),
    "bootstrap of a mean over 1,508 pairs": ("BM_BootstrapMean/threads:1/real_time", "fare::stats::bootstrap_mean(*"),
}


def toolchain(micro):
    """Compiler and machine a program was made by and for."""
    text = subprocess.run(["readelf", "-p", ".comment", micro], capture_output=True, text=True).stdout
    found = re.search(r"(GCC: .*|clang version \S+.*)", text)
    return f"{found.group(1) if found else 'unknown compiler'}, {platform.machine()}"


def count(micro, benchmark, function):
    out = ROOT / "out" / "bench" / "callgrind.out"
    out.unlink(missing_ok=True)
    command = ["valgrind", "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={function}", f"--callgrind-out-file={out}",
               str(micro), "--threads", "1", f"--benchmark_filter=^{benchmark}$", "--benchmark_min_time=1e-9"]  # one iteration
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^(?:totals|summary): (\d+)", out.read_text(), re.MULTILINE) if out.exists() else None
    if done.returncode != 0 or found is None or int(found.group(1)) == 0:
        sys.exit(f"{' '.join(command)}: status {done.returncode}, no instructions counted\n{done.stderr[-2000:]}")
    return int(found.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--micro", type=pathlib.Path, default=ROOT / "build" / "bench" / "micro")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("SKIPPED: instruction counts need valgrind (Debian package valgrind)")
        return 0
    (ROOT / "out" / "bench").mkdir(parents=True, exist_ok=True)
    counts = {name: count(options.micro, *piece) for name, piece in PIECES.items()}
    known = json.loads(KNOWN.read_text()) if KNOWN.exists() else {"toolchain": None, "counts": {}}
    comparable, worse = known["toolchain"] == toolchain(options.micro), []
    for name, number in counts.items():
        before = known["counts"].get(name)
        print(f"{name:40s} {number:>15,d}" + (f"  {number / before:6.3f} of the recorded" if before else ""))
        if comparable and before and number > ALLOWED * before:
            worse.append(name)
    if not comparable:
        print(f"recorded with {known['toolchain']}, this is {toolchain(options.micro)}: not judged")
    if options.write:
        KNOWN.write_text(json.dumps({"toolchain": toolchain(options.micro), "counts": counts}, indent=2) + "\n")
        return 0
    for name in worse:
        print(f"more instructions than recorded: {name}; if that is meant, run bench/instructions.py --write")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
