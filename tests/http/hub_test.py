"""`millrace pull` and its neighbours against a hub that misbehaves: hub_test.py MILLRACE

A small server of the Hugging Face protocol runs in this process and can cut, corrupt, slow down and misdirect; the
program under test is the real one, with a store of its own for every check. Standard library only."""
import concurrent.futures
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

MILLRACE = str(pathlib.Path(sys.argv[1]).resolve())
WEIGHTS = bytes(i * 7 % 251 for i in range(300_000))
SHA = hashlib.sha256(WEIGHTS).hexdigest()


class Hub(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.reset()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a client that hangs up in the middle is what some checks are about

    def reset(self, **faults):
        self.faults = faults
        self.requests = []
        self.commit = "0123abcd"
        self.files = {"m.Q4_K_M.gguf": WEIGHTS, "m.Q8_0.gguf": WEIGHTS[::-1], "README.md": b"hello"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        hub, faults = self.server, self.server.faults
        hub.requests.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/name/revision/main"):
            if faults.get("token") and self.headers.get("Authorization") != "Bearer " + faults["token"]:
                return self.answer(401, b'{"error":"no"}')
            rows = [{"rfilename": name, "size": len(data), "lfs": {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
                    for name, data in hub.files.items()]
            return self.answer(200, json.dumps({"sha": hub.commit, "siblings": rows}).encode())
        if faults.get("loop") and "resolve" in path:
            return self.answer(302, headers=[("Location", path + "x")])
        if faults.get("elsewhere") and "resolve" in path:
            return self.answer(302, headers=[("Location", faults["elsewhere"] + path.replace("resolve", "blob"))])
        prefix = next((p for p in (f"/owner/name/resolve/{hub.commit}/", f"/owner/name/blob/{hub.commit}/") if path.startswith(p)), None)
        name = path[len(prefix):] if prefix else None
        if name not in hub.files:
            return self.answer(404, b'{"error":"not here"}')
        self.send_file(hub.files[name])

    def send_file(self, data):
        faults = self.server.faults
        wanted = self.headers.get("Range")
        begin = int(wanted[6:-1]) if wanted and not faults.get("no_range") else 0
        body = data[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        if faults.get("corrupt"):
            body = body[:-1] + bytes([body[-1] ^ 1])
        if faults.get("short"):
            body = body[:-10]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if faults.get("drip"):
            for i in range(0, 600):
                self.wfile.write(body[i:i + 1])
                self.wfile.flush()
                time.sleep(0.05)
        cut = faults.get("cut", [])
        if cut:
            self.wfile.write(body[:cut.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            return
        self.wfile.write(body)


class Client:
    def __init__(self, hub, home):
        self.hub, self.home = hub, home

    def run(self, *args, **variables):
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "MILLRACE_", "TRANSFORMERS_")) and "proxy" not in k.lower()}
        environment = {**kept, "HOME": self.home, "MILLRACE_HOME": self.home + "/store", "HF_ENDPOINT": self.hub.url, **variables}
        done = subprocess.run([MILLRACE, *args], env=environment, capture_output=True, text=True, timeout=checks.HANG_S)
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def stored(self):
        return sorted(str(p.relative_to(self.home)) for p in pathlib.Path(self.home).rglob("*") if p.is_file() and p.name not in (".lock",))


def stored_after_pull_and_rm(hub):
    """The files that a pull of owner/name leaves, and those that rm leaves then."""
    with tempfile.TemporaryDirectory() as quiet:
        client = Client(hub, quiet)
        assert client.run("pull", "owner/name")[0] == 0
        after_pull = client.stored()
        assert client.run("rm", "owner/name")[0] == 0
        return after_pull, client.stored()


def pull_and_find_again(hub, client):
    code, path, _ = client.run("pull", "owner/name")
    assert code == 0 and pathlib.Path(path).read_bytes() == WEIGHTS, (code, path)
    assert path.endswith("m.Q4_K_M.gguf")  # the default quant
    n = len(hub.requests)
    assert client.run("inspect", "owner/name")[0] == 3  # found here without the network (and it is no real model)
    assert len(hub.requests) == n
    code, path, _ = client.run("pull", "-hf", "owner/name:q8_0")
    assert code == 0 and pathlib.Path(path).read_bytes() == WEIGHTS[::-1]
    names = [row["name"] for row in json.loads(client.run("list", "--json")[1])]
    assert names == ["owner/name", "owner/name:Q8_0"], names
    assert client.run("rm", "owner/name:Q8_0")[0] == 0 and client.run("rm", "owner/name:Q8_0")[0] == 3
    assert client.run("cp", "owner/name", "mine")[0] == 0
    assert client.run("rm", "owner/name")[0] == 0
    assert [row["name"] for row in json.loads(client.run("list", "--json")[1])] == ["mine"]


def an_update_is_fetched(hub, client):
    client.run("pull", "owner/name")
    hub.commit, hub.files = "99ff", {"m.Q4_K_M.gguf": b"new weights"}
    code, path, _ = client.run("pull", "owner/name")
    assert code == 0 and pathlib.Path(path).read_bytes() == b"new weights"
    n = len(hub.requests)
    client.run("pull", "owner/name")
    assert [r for r in hub.requests[n:] if "resolve" in r[0]] == []  # nothing twice


def a_cut_is_resumed(hub, client):
    hub.reset(cut=[100_000, 50_000])
    code, path, error = client.run("pull", "owner/name")
    assert code == 0 and pathlib.Path(path).read_bytes() == WEIGHTS, error
    ranges = [r[1] for r in hub.requests if "resolve" in r[0]]
    assert ranges[0] is None and ranges[1] == "bytes=100000-" and ranges[2] == "bytes=150000-", ranges


def a_second_run_goes_on(hub, client):
    hub.reset(cut=[100_000] + [0] * 10)
    code, _, error = client.run("pull", "owner/name")
    assert code == 1 and "100000 of 300000 bytes" in error, error
    hub.faults = {}
    hub.requests.clear()
    code, path, _ = client.run("pull", "owner/name")
    assert code == 0 and pathlib.Path(path).read_bytes() == WEIGHTS
    assert [r[1] for r in hub.requests if "resolve" in r[0]] == ["bytes=100000-"]


def a_server_without_ranges(hub, client):
    hub.reset(cut=[100_000], no_range=True)
    code, path, error = client.run("pull", "owner/name")
    assert code == 0 and pathlib.Path(path).read_bytes() == WEIGHTS, error


def a_wrong_checksum(hub, client):
    hub.reset(corrupt=True)
    code, _, error = client.run("pull", "owner/name")
    assert code == 3 and 'sha256 of "m.Q4_K_M.gguf" does not match' in error, error
    assert client.stored() == []


def a_short_file(hub, client):
    hub.reset(short=True)
    code, _, error = client.run("pull", "owner/name")
    assert code == 1 and "299990 of 300000 bytes" in error, error
    assert not any(name.endswith("m.Q4_K_M.gguf") for name in client.stored())


def a_redirect_loop(hub, client):
    hub.reset(loop=True)
    code, _, error = client.run("pull", "owner/name")
    assert code == 1 and "redirects" in error, error


def a_slow_drip(hub, client):
    hub.reset(drip=True)
    code, _, error = client.run("pull", "owner/name", HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert code == 1 and "slow" in error, error


def tokens_stay_with_the_hub(hub, client):
    other = Hub()
    hub.reset(token="secret", elsewhere=other.url.replace("127.0.0.1", "localhost"))
    code, _, error = client.run("pull", "owner/name")
    assert code == 1 and "401" in error and "HF_TOKEN" in error, error
    code, path, error = client.run("pull", "owner/name", "--hf-token", "secret")
    assert code == 0 and pathlib.Path(path).read_bytes() == WEIGHTS, error
    assert all(r[2] == "Bearer secret" for r in hub.requests[1:]) and [r[2] for r in other.requests] == [None]
    other.shutdown()


def offline_opens_no_socket(hub, client):
    for args, variables, name in ((("--offline",), {}, "--offline"), ((), {"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE"),
                                  ((), {"TRANSFORMERS_OFFLINE": "1"}, "TRANSFORMERS_OFFLINE")):
        code, _, error = client.run("pull", "owner/name", *args, **variables)
        assert code == 3 and name in error, error
    assert hub.requests == []
    client.run("pull", "owner/name")
    assert client.run("inspect", "owner/name", HF_HUB_OFFLINE="1")[0] == 3  # found, but no model


def what_is_not_there(hub, client):
    code, _, error = client.run("pull", "owner/other")
    assert code == 3 and "404" in error, error
    code, _, error = client.run("pull", "owner/name:Q5_K_M")
    assert code == 3 and 'no GGUF file of quant Q5_K_M; its weight files: m.Q4_K_M.gguf, m.Q8_0.gguf' in error, error
    code, _, error = client.run("pull", "owner/name", "--hf-file", "x.gguf")
    assert code == 3 and 'no file x.gguf' in error, error
    code, _, error = client.run("pull", "owner/name", HF_ENDPOINT="")
    assert code == 3 and "--hf-endpoint" in error, error
    code, _, error = client.run("pull", "owner/name", HF_ENDPOINT="http://127.0.0.1:1")
    assert code == 1 and "127.0.0.1" in error, error
    assert client.run("pull", "owner/name", "-hf", "owner/name")[0] == 2
    assert client.run("pull", "smollm2", "--revision", "x")[0] == 2
    hub.files = {"../evil.gguf": b"x"}
    code, _, error = client.run("pull", "owner/name")
    assert code == 3 and "unusable name" in error, error


def the_cache_of_huggingface_hub(hub, client):
    home = pathlib.Path(client.home) / ".cache/huggingface/hub/models--owner--name"
    (home / "refs").mkdir(parents=True)
    (home / "refs/main").write_text("feed")
    (home / "snapshots/feed").mkdir(parents=True)
    shutil.copy("models/SmolLM2-135M-Instruct.Q4_1.gguf", home / "snapshots/feed/m.Q4_K_M.gguf")
    code, out, error = client.run("inspect", "owner/name:Q4_K_M")
    assert code == 0 and "llama" in out and hub.requests == [], error


def two_at_once(hub, client):
    results = []
    threads = [threading.Thread(target=lambda: results.append(client.run("pull", "owner/name"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r[0] for r in results] == [0] * 4, results
    assert len([r for r in hub.requests if "resolve" in r[0]]) == 1


CHECKS = [pull_and_find_again, an_update_is_fetched, a_cut_is_resumed, a_second_run_goes_on, a_server_without_ranges, a_wrong_checksum,
          a_short_file, a_redirect_loop, a_slow_drip, tokens_stay_with_the_hub, offline_opens_no_socket, what_is_not_there,
          the_cache_of_huggingface_hub, two_at_once]


def attempt(check):
    hub = Hub()
    try:
        with tempfile.TemporaryDirectory() as home:
            check(hub, Client(hub, home))
    finally:
        hub.shutdown()


if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(8) as pool:  # most of them wait
        running = {check: pool.submit(attempt, check) for check in CHECKS}
    sys.exit(checks.run(CHECKS, lambda check: running[check].result()))
