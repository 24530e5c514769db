"""Runs every lint: tools/lint/run.py [BUILD_FOLDER [--tidy]]. Prints findings and `N passed, N failed`; exit 1 on a finding.

With a build folder also the symbol check and, with --tidy, clang-tidy (tools/lint/tidy.py)."""
import subprocess
import sys

import docs
import layers
import shapes
import sizes
import symbols
import tidy
import words
import common
from common import code_files


def check_format():
    files = [p for p in code_files() if not p.endswith(".inc") or p.endswith(".inl.h")]
    if not files:
        return
    out = subprocess.run(["clang-format-14", "--dry-run", *files], cwd=common.ROOT, capture_output=True, text=True)
    seen = set()
    for line in out.stderr.splitlines():
        if "warning: code should be clang-formatted" in line:
            path = line.split(":")[0]
            if path not in seen:
                seen.add(path)
                yield f"{path}: not clang-formatted (clang-format-14 -i {path})"


def main():
    build = next((a for a in sys.argv[1:] if not a.startswith("--")), None)
    checks = [("layers", layers.check()), ("sizes", sizes.check()), ("words", words.check()), ("docs", docs.check()),
              ("shapes", shapes.check()), ("format", check_format())]
    if build:
        checks.append(("symbols", symbols.check(build)))
        if "--tidy" in sys.argv:
            checks.append(("tidy", tidy.check(build)))
    failed = 0
    for name, findings in checks:
        findings = list(findings)
        for finding in findings:
            print(f"lint {name}: {finding}")
        failed += bool(findings)
    print(f"lint: {len(checks) - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
