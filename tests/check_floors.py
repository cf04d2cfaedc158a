"""Checks that includes point only downwards, as tests/floors.txt says.

  python3 tests/check_floors.py [ROOT]     one line per offence; exit status 1 when there is one
Tests beside the sources (x_test.cpp) obey the same rules as the sources, except that a test may also include any
floor below the folder's own place in the list.  Standard library only.
"""

import re
import sys
from pathlib import Path

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
TORCH = re.compile(r"^(torch|ATen|c10|caffe2)/")
SOURCES = {".h", ".hpp", ".cpp", ".cc", ".inc"}


def read_floors(path):
    """The list: (order of folders, folder -> allowed set, torch-free folders, studies)."""
    allowed, torch_free, studies = {}, set(), set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        name, separator, rest = line.partition(":")
        if not separator:
            raise SystemExit(f"{path}: line {number}: expected 'folder: folders'")
        if name == "torch-free":
            torch_free = set(rest.split())
        elif name == "studies":
            studies = set(rest.split())
        else:
            allowed[name] = set(rest.split())
    order = list(allowed)
    for folder, below in allowed.items():
        for other in below:
            if other not in allowed or order.index(other) >= order.index(folder):
                raise SystemExit(f"{path}: {folder} may not include {other}: it does not stand above it in the list")
    return order, allowed, torch_free, studies


def folder_of(path, order):
    """The floor a path like fare/core/error.h lies in, or None."""
    return next((folder for folder in order if path.startswith(folder + "/")), None)


def includes(file):
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if found := INCLUDE.match(line):
            yield number, found.group(1), found.group(2)


def reaches_torch(root, path, seen):
    """The chain of our headers by which `path` includes torch, or None."""
    if path in seen or not (root / path).is_file():
        return None
    seen.add(path)
    for _, _, name in includes(root / path):
        if TORCH.match(name):
            return [path, name]
        if chain := reaches_torch(root, name, seen):
            return [path, *chain]
    return None


def offences(root):
    """Yields one sentence per broken rule."""
    order, allowed, torch_free, studies = read_floors(root / "tests/floors.txt")
    for folder in sorted(p for p in (root / "fare").iterdir() if p.is_dir()):
        if f"fare/{folder.name}" not in order:
            yield f"fare/{folder.name}: not in tests/floors.txt; give it a place and say what it may include"
    for folder in order:
        for file in sorted(p for p in (root / folder).rglob("*") if p.suffix in SOURCES):
            here = file.relative_to(root).as_posix()
            may = set(allowed[folder])
            if file.stem.endswith("_test"):
                may |= set(order[: order.index(folder)]) - (studies if folder in studies else set())
            for number, bracket, name in includes(file):
                place = f"{here}:{number}"
                target = folder_of(name, order)
                if bracket == '"' and target is None and not TORCH.match(name):
                    yield f'{place}: "{name}": our headers are included by their path from the root (fare/.../x.h)'
                elif target == "cli" and folder != "cli":
                    yield f"{place}: includes {name}: nothing includes cli"
                elif target in studies and folder in studies and target != folder:
                    yield f"{place}: study {folder} includes study {target}: move what both need down"
                elif target is not None and target != folder and target not in may:
                    yield f"{place}: {folder} may not include {target} ({name}); see tests/floors.txt"
            if folder in torch_free and (chain := reaches_torch(root, here, set())):
                yield f"{here}: {folder} is torch-free but includes {' -> '.join(chain[1:])}"
            header = file.with_suffix(".h")
            if file.suffix == ".cpp" and header.is_file():
                first = next((name for _, _, name in includes(file)), None)
                if first != header.relative_to(root).as_posix():
                    yield f"{here}: must include its own header first, so that the header is known to stand alone"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
    found = list(offences(root))
    for sentence in found:
        print(sentence)
    print(f"floors: {len(found)} offences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
