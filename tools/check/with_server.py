"""Runs a command against a real server: with_server.py MILLRACE MODEL [SERVER FLAGS] -- COMMAND...

Starts `MILLRACE serve MODEL` on a free loopback port, waits until /health/ready says 200, runs COMMAND with the base
URL as its last argument, then drains the server with SIGTERM. Exits with the command's code; 1 when the server did
not start, died, did not drain with exit code 0, or wrote a line to its log that is none of docs/log_lines.md."""
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/support"))
import log_lines  # noqa: E402

READY_WITHIN_S = 600  # hang guards: a busy machine may be ten times slower than a free one
DRAIN_WITHIN_S = 300


def ready(url):
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=READY_WITHIN_S) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def main():
    cut = sys.argv.index("--")
    program, model, *flags = sys.argv[1:cut]
    command = sys.argv[cut + 1:]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    log = pathlib.Path("build/check/server.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        serve = [program, "serve", model, "--host", "127.0.0.1", "--port", str(port), "--shutdown-timeout", str(DRAIN_WITHIN_S), *flags]
        server = subprocess.Popen(serve, stdout=out, stderr=out)
    code = 1
    try:
        end = time.monotonic() + READY_WITHIN_S
        while not ready(url):
            if server.poll() is not None or time.monotonic() > end:
                print(f"the server did not become ready (exit {server.poll()}):\n{log.read_text()[-4000:]}")
                return 1
            time.sleep(0.1)
        code = subprocess.run([*command, url]).returncode
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGTERM)
        try:
            ended = server.wait(2 * DRAIN_WITHIN_S)
        except subprocess.TimeoutExpired:
            server.kill()
            ended = f"none within {2 * DRAIN_WITHIN_S} s of SIGTERM"
        if ended != 0:
            print(f"the server ended with {ended}:\n{log.read_text()[-4000:]}")
            code = code or 1
    strange = log_lines.faults(log.read_text(errors="replace"))
    if strange:
        print(f"{len(strange)} lines of the log should not be there, such as:\n" + "\n".join(strange[:20]))
        code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
