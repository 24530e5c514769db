"""A folder may include only the folders that src/LAYERS names for it."""
import re

import common
from common import code_files, read

INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"', re.M)


def table():
    rows = {}
    for line in (common.ROOT / "src/LAYERS").read_text().splitlines():
        match = re.match(r"^(\d+) ([a-z]+):(.*)$", line)
        if match:
            rows[match[2]] = (int(match[1]), set(match[3].split()))
    return rows


def check():
    rows = table()
    for name, (height, deps) in rows.items():
        for dep in deps:
            if dep not in rows:
                yield f"src/LAYERS: {name} names unknown folder {dep}"
            elif rows[dep][0] >= height:
                yield f"src/LAYERS: {name} ({height}) may not use {dep} ({rows[dep][0]}): not lower"
    for path in code_files(("src",)):
        folder = path.split("/")[1]
        if folder not in rows:
            yield f"{path}: folder {folder} is not in src/LAYERS"
            continue
        for include in INCLUDE.findall(read(path)):
            target = include.split("/")[0]
            if include.startswith("tests/support/") and path.endswith("_test.cc"):
                continue
            if target == folder or target in rows[folder][1]:
                continue
            if target in rows or target == "tests":
                # a test may look at what it needs to check its folder, downwards only
                if path.endswith("_test.cc") and target in rows and rows[target][0] <= rows[folder][0]:
                    continue
                yield f'{path}: includes "{include}", but src/LAYERS lets {folder} use only: {" ".join(sorted(rows[folder][1])) or "nothing"}'
            else:
                yield f'{path}: include "{include}" names no folder of src'
