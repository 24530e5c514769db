"""clang-tidy (checks of .clang-tidy) over the sources of src/ under a time budget.

A file that came out clean is remembered in build/tidy.stamp by a hash of itself, our headers it reaches and the
configuration, and is not looked at again. Files of the last commit and of the work tree go first. What the budget
leaves unchecked is printed and is no failure: the next run goes on there. `tools/lint/tidy.py BUILD all` has no budget."""
import concurrent.futures
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import time

import common
from common import code_files, read

BUDGET_S = 150
INCLUDE = re.compile(r'^\s*#include\s+"([^"]+)"', re.M)


def reached(path, seen):
    """The file and every file of ours that it includes, directly or not."""
    if path in seen or not (common.ROOT / path).exists():
        return seen
    seen.add(path)
    for include in INCLUDE.findall(read(path)):
        reached(include if include.startswith("tests/") else f"src/{include}", seen)
    return seen


def digest(path):
    total = hashlib.sha256((common.ROOT / ".clang-tidy").read_bytes())
    for part in sorted(reached(path, set())):
        total.update(part.encode() + b"\0" + (common.ROOT / part).read_bytes())
    return total.hexdigest()


def recent():
    """Paths that the last commit or the work tree changed."""
    out = subprocess.run(["git", "-C", str(common.ROOT), "diff", "--name-only", "HEAD~1"], capture_output=True, text=True)
    return set(out.stdout.split())


def tidy(build, path):
    out = subprocess.run(["clang-tidy-14", "--quiet", "-p", str(build), "--extra-arg=-Wno-unknown-warning-option", path],
                         cwd=common.ROOT, capture_output=True, text=True)
    lines = [line for line in out.stdout.splitlines() if re.search(r": (warning|error): ", line)]
    if out.returncode != 0 and not lines:
        lines = [f"{path}: clang-tidy-14 ended with {out.returncode}: {out.stderr.strip()[-300:]}"]
    return [line.replace(f"{common.ROOT}/", "") for line in lines]


def check(build, budget_s=BUDGET_S):
    build = pathlib.Path(build).resolve()
    if not (build / "compile_commands.json").exists():
        yield f"{build}: no compile_commands.json (configure the preset first)"
        return
    stamp = common.ROOT / "build/tidy.stamp"
    stamp.parent.mkdir(exist_ok=True)
    clean = set(stamp.read_text().split()) if stamp.exists() else set()
    sources = [p for p in code_files(("src",)) if p.endswith(".cc") and not p.endswith("_test.cc")]
    digests = {path: digest(path) for path in sources}
    first = recent()
    waiting = sorted((p for p in sources if digests[p] not in clean), key=lambda p: (p not in first, p))
    end = time.monotonic() + budget_s
    left = 0

    def job(path):
        return tidy(build, path) if time.monotonic() < end else None

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool, stamp.open("a") as out:
        for path, findings in zip(waiting, pool.map(job, waiting)):
            if findings is None:
                left += 1
            elif findings:
                yield from findings
            else:
                out.write(digests[path] + "\n")
                out.flush()
    print(f"lint tidy: {len(sources)} files, {len(sources) - len(waiting)} unchanged since clean, "
          f"{len(waiting) - left} checked now, {left} unchecked")


if __name__ == "__main__":
    found = list(check(sys.argv[1], 1e9 if sys.argv[2:] == ["all"] else BUDGET_S))
    print("\n".join(found))
    sys.exit(1 if found else 0)
