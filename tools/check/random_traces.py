"""Random traces of the serving core, more than the unit tests play: tools/check/random_traces.py ENGINE_TEST [SEEDS [FIRST]]

Plays SEEDS (3,000) traces from seed FIRST (1) on and says how many events they were; fewer than LEAST_EVENTS a trace is a
failure. The goal of a million a minute is printed, not judged: it is the machine's."""
import os
import re
import subprocess
import sys
import time

LEAST_EVENTS = 100


def main():
    program = sys.argv[1]
    seeds, first = (sys.argv[2:] + ["3000", "1"][len(sys.argv) - 2:])[:2]
    began = time.monotonic()
    run = subprocess.run([program, "--gtest_filter=*RandomTracesKeepTheBooksTheRules*", "--gtest_brief=1"], capture_output=True, text=True,
                         env=dict(os.environ, MILLRACE_SEEDS=seeds, MILLRACE_FIRST_SEED=first))
    seconds = time.monotonic() - began
    found = re.search(r"events and turns: (\d+)", run.stdout)
    if run.returncode != 0 or not found:
        print(run.stdout[-8000:], run.stderr[-2000:])
    rate = int(found[1]) / seconds * 60 if found else 0
    print(f"{seeds} traces from seed {first}: {found[1] if found else 'no'} events in {seconds:.1f} s, {rate / 1e6:.1f} million a minute")
    failed = (run.returncode != 0) + (not found or int(found[1]) < LEAST_EVENTS * int(seeds))
    print(f"{2 - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
