"""Checks the tree itself: what no file of the project may hold, and that the documentation is whole.

  python3 tests/check_tree.py [ROOT]       one line per offence; exit status 1 when there is one
- no absolute path of somebody's machine and no mark of unfinished work in any text file;
- every file format the program writes ("fare-name/1" in a source) has a page in docs/ that names it;
- every relative link of a Markdown page leads to a file that is there;
- every folder of fare/ has a README.md; no file larger than 1 MB.
Standard library only.
"""

import re
import subprocess
import sys
from pathlib import Path

# Spelled in pieces so that this file passes its own check.
MACHINE_PATHS = ["/" + name + "/" for name in ("work", "root", "home", "opt/pypi", "opt/wheels")]
UNFINISHED = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "not imple" + "mented", "lorem " + "ipsum"]
FORMAT = re.compile(r'"(fare-[a-z-]+/\d+)"')
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
MAX_BYTES = 1_000_000


def files_of(root):
    """What git tracks or would track; every file where there is no git."""
    listed = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True)
    if listed.returncode == 0:
        names = listed.stdout.decode().split("\0")
        return [root / name for name in names if name and (root / name).is_file()]
    return [path for path in root.rglob("*") if path.is_file()]


def text_of(path):
    """The text, or None for a binary file."""
    data = path.read_bytes()
    if b"\0" in data[:8192]:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def offences(root):
    """Yields one sentence per broken rule."""
    formats = {}
    documented = ""
    for path in sorted(files_of(root)):
        here = path.relative_to(root).as_posix()
        if path.stat().st_size > MAX_BYTES:
            yield f"{here}: {path.stat().st_size} bytes; files above {MAX_BYTES} do not belong here"
            continue
        if (text := text_of(path)) is None:
            continue
        golden_data = here.startswith("tests/golden/") and path.suffix in (".json", ".jsonl", ".txt", ".csv", ".tsv")
        for number, line in enumerate(text.splitlines(), 1):
            for word in MACHINE_PATHS:
                if re.search(r"(?<![\w.])" + re.escape(word), line):
                    yield f"{here}:{number}: a path of one machine ({word})"
            for word in [] if golden_data else UNFINISHED:
                if re.search(r"\b" + re.escape(word) + r"\b", line):
                    yield f"{here}:{number}: a mark of unfinished work ({word})"
        if path.suffix in (".cpp", ".h") and not here.endswith("_test.cpp"):
            for name in FORMAT.findall(text):
                formats.setdefault(name, here)
        if here.startswith("docs/") and path.suffix == ".md":
            documented += text
        if path.suffix == ".md":
            for target in LINK.findall(text):
                if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                    yield f"{here}: link to {target}, which is not there"
    for name, here in sorted(formats.items()):
        if name not in documented:
            yield f"{here}: writes or reads {name}, but no page in docs/ names it"
    for folder in sorted(p for p in (root / "fare").iterdir() if p.is_dir()):
        if not (folder / "README.md").is_file():
            yield f"fare/{folder.name}: no README.md (what it owns, what it must not know, which file to read first)"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    found = list(offences(root))
    for sentence in found:
        print(sentence)
    print(f"tree: {len(found)} offences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
