"""Runs test programs and keeps the count: tools/check/suites.py KIND BUILD SUITE...  (KIND: release, asan, tsan).

Each SUITE is a gtest program of the build folder. Appends `KIND/SUITE run skipped failed` to build/check/counts."""
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
COUNTS = ROOT / "build/check/counts"
TIMEOUT_S = 1200


def run_suite(kind, build, suite):
    report = ROOT / f"build/check/{kind}-{suite}.json"
    report.unlink(missing_ok=True)
    program = pathlib.Path(build) / suite
    log = ROOT / f"build/check/{kind}-{suite}.log"
    start = time.monotonic()
    env = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1",
               TSAN_OPTIONS=f"halt_on_error=1:suppressions={ROOT}/tools/check/tsan.supp")
    with log.open("wb") as out:
        try:
            code = subprocess.run([program, f"--gtest_output=json:{report}", "--gtest_brief=1"], cwd=ROOT, env=env,
                                  stdout=out, stderr=subprocess.STDOUT, timeout=TIMEOUT_S).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
        except OSError as error:
            code = str(error)
    ran = skipped = failed = 0
    if report.exists():
        for group in json.loads(report.read_text())["testsuites"]:
            for test in group["testsuite"]:
                if test.get("result") == "SKIPPED":
                    skipped += 1
                elif test.get("status") == "RUN":
                    ran += 1
                    failed += bool(test.get("failures"))
    if code != 0 and failed == 0:
        failed = 1  # died outside a test, or before its report
    seconds = time.monotonic() - start
    print(f"{kind + '/' + suite:32} run {ran:5} skipped {skipped:3} failed {failed:3}  {seconds:6.1f} s", flush=True)
    if failed:
        text = log.read_text(errors="replace").splitlines()
        print("\n".join(text[-60:]), flush=True)
    with COUNTS.open("a") as out:
        out.write(f"{kind}/{suite} {ran} {skipped} {failed}\n")
    return failed


def main():
    kind, build, *names = sys.argv[1:]
    COUNTS.parent.mkdir(parents=True, exist_ok=True)
    failed = sum(run_suite(kind, build, name) for name in names)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
