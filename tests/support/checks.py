"""Runs named checks one after the other; a failed one does not hide the others. The last line it prints is
"N passed, N failed", which ./check counts. How long something took is printed and never judged here: HANG_S is for what
would otherwise wait for ever, and a machine that is ten times slower and busy with others has to stay within it."""
import json
import time
import traceback
import urllib.error
import urllib.request

HANG_S = 300


def eventually(condition, what="the condition", seconds=HANG_S):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.05)


def end(process):
    """Asks the process to end, kills it when it does not, and waits for it: its exit status."""
    process.terminate()
    try:
        return process.wait(HANG_S)
    except BaseException:
        process.kill()
        process.wait()
        raise


def post(url, body):
    """Status and body of a JSON request, refused or not."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=HANG_S) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def run(checks, call=lambda check: check(), failed=lambda check: None):
    """call(check) runs one; failed(check) is told of each that raised. Returns the exit status."""
    n_failed = 0
    for check in checks:
        try:
            call(check)
            print(f"ok    {check.__name__}", flush=True)
        except Exception as error:  # reported; the others still run
            n_failed += 1
            print(f"FAIL  {check.__name__}: {type(error).__name__}: {error}\n{traceback.format_exc()}", flush=True)
            failed(check)
    print(f"{len(checks) - n_failed} passed, {n_failed} failed", flush=True)
    return 1 if n_failed else 0


def named(names, prefix="check_"):
    """The functions among globals() whose name begins with the prefix, in order of definition."""
    return [value for name, value in names.items() if name.startswith(prefix)]
