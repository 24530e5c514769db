"""Command lines, environments and files that cannot be served: hostile_flags.py MILLRACE MODEL

Rows X01 to X13 and K01 of the bad-input list, as data: each ends by itself with its exit code (2 usage, 3 bad file,
4 resource) and one line "error: ..." that names what was wrong; nothing ends by a signal."""
import os
import pathlib
import resource
import socket
import subprocess
import sys
import tempfile

MILLRACE, MODEL = sys.argv[1:3]
HANG_S = 300


def rows(folder, busy_port):
    """(name, arguments of serve, exit code, words of the error, environment, limit)"""
    files = {"empty": b"", "huge-keys": b"k" * 10_000_000, "text": b"not a model", "empty.gguf": b"", "text.gguf": b"not a model, but long enough to be one" * 10, "key": b"secret\n", "bad.yaml": b"a: [", "link-to": b"x"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        (folder / name).chmod(0o600)
    (folder / "open-folder").mkdir()
    (folder / "open-folder").chmod(0o777)
    os.symlink(folder / "open-folder", folder / "linked-folder")
    os.mkfifo(folder / "pipe.gguf")
    at = {name: str(folder / name) for name in (*files, "open-folder", "linked-folder", "pipe.gguf", "missing")}
    good, free = [MODEL], ["--port", "0"]
    yield from ((f"flag {words}", [*good, *words.split()], 2, named, {}, None) for words, named in (
        ("--no-such-flag", "no-such-flag"), ("--prot 8000", "port"), ("--port", "--port"), ("--port 70000", "70000"), ("--port -1", "port"), ("--port x", "port"),
        ("--port 8000.5", "port"), ("--max-model-len -5", "max-model-len"), ("--max-model-len x", "max-model-len"), ("--max-model-len 99999999999999999999", "max-model-len"),
        ("--threads -3", "threads"), ("--threads 100000", "threads"), ("--threads many", "threads"), ("--max-num-seqs 0", "max-num-seqs"), ("--max-num-seqs -1", "max-num-seqs"),
        ("--max-num-queued-reqs -1", "max-num-queued-reqs"), ("--limit-body-bytes 0", "limit-body-bytes"), ("--limit-body-bytes 999999999999", "limit-body-bytes"),
        ("--limit-json-depth 1000000", "limit-json-depth"), ("--kv-cache-dtype q4_0", "kv-cache-dtype"), ("--kv-cache-dtype nope", "kv-cache-dtype"),
        ("--block-size 16", "block-size"), ("--kv-cache-memory-bytes -1", "kv-cache-memory-bytes"), ("--shutdown-timeout -1", "shutdown-timeout"),
        ("--host 0.0.0.0", "--api-key"), ("--compat nobody", "compat"), ("--log-format loud", "log-format")))
    yield "no template", [*good, "--chat-template", at["missing"]], 3, "missing", {}, None
    yield "empty model", [""], 2, "no model", {}, None
    yield "two models, one missing", [*good, "second-model"], 3, "second-model", {}, None
    yield "missing model", [at["missing"]], 3, "missing", {}, None
    yield "model of text", [at["text"]], 3, "text", {}, None
    yield "empty model file", [at["empty.gguf"]], 3, "0 bytes", {}, None
    yield "GGUF of text", [at["text.gguf"]], 3, "magic", {}, None
    yield "model is a pipe", [at["pipe.gguf"]], 3, "not a regular file", {}, None
    yield "model is a device", ["/dev/zero"], 3, "/dev/zero", {}, None
    yield "port in use", [*good, "--port", str(busy_port)], 4, "in use", {}, None
    yield "host of words", [*good, *free, "--allow-open", "--host", "no.such.host.invalid"], 4, "no.such.host.invalid", {}, None
    yield "address of others", [*good, *free, "--allow-open", "--host", "192.0.2.1"], 4, "192.0.2.1", {}, None
    yield "empty key file", [*good, *free, "--api-key-file", at["empty"]], 2, "no key", {}, None
    yield "key file of 10 MB", [*good, *free, "--api-key-file", at["huge-keys"]], 2, "huge-keys", {}, None
    yield "no key file", [*good, *free, "--api-key-file", at["missing"]], 2, "missing", {}, None
    yield "certificate of text", [*good, *free, "--ssl-certfile", at["text"], "--ssl-keyfile", at["key"]], 2, "", {}, None
    yield "no disk folder", [*good, *free, "--kv-disk-path", at["missing"]], 4, "missing", {}, None
    yield "disk folder of everybody", [*good, *free, "--kv-disk-path", at["open-folder"]], 4, "written by others", {}, None
    yield "disk folder is a link", [*good, *free, "--kv-disk-path", at["linked-folder"]], 4, "", {}, None
    yield "disk folder is a file", [*good, *free, "--kv-disk-path", at["text"]], 4, "", {}, None
    yield "config file of nonsense", [*good, *free, "--config", at["bad.yaml"]], 2, "config file", {}, None
    yield "no config file", [*good, *free, "--config", at["missing"]], 2, "missing", {}, None
    yield "context of a billion tokens", [*good, *free, "--max-model-len", "1000000000"], (2, 4), "max-model-len", {}, None
    yield "more KV than memory", [*good, *free, "--kv-cache-memory-bytes", "100000G"], (2, 4), "", {}, None
    yield "one sequence above the pool", [*good, *free, "--max-model-len", "2048", "--kv-cache-memory-bytes", "1M"], 4, "max-model-len", {}, None
    yield "little address space", [*good, *free], (3, 4), "", {}, (resource.RLIMIT_AS, 120_000_000)
    yield "offline hub", ["-hf", "a/b", *free], 3, "HF_HUB_OFFLINE", {"HF_HUB_OFFLINE": "1", "MILLRACE_CACHE": str(folder)}, None


def outcome(arguments, environment, limit):
    """(exit code, text) of a serve command that has to end by itself."""
    def confine():
        if limit is not None:
            resource.setrlimit(limit[0], (limit[1], limit[1]))

    try:
        done = subprocess.run([MILLRACE, "serve", *arguments], env={**os.environ, **environment}, capture_output=True, timeout=HANG_S,
                              stdin=subprocess.DEVNULL, preexec_fn=confine)
    except subprocess.TimeoutExpired as late:
        return "still running", (late.stderr or b"").decode("utf-8", "replace")
    return done.returncode, (done.stdout + done.stderr).decode("utf-8", "replace")


def main():
    n, n_bad = 0, 0
    with tempfile.TemporaryDirectory() as name, socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        for what, arguments, wanted, words, environment, limit in rows(pathlib.Path(name), busy.getsockname()[1]):
            n += 1
            code, text = outcome(arguments, environment, limit)
            allowed = wanted if isinstance(wanted, tuple) else (wanted,)
            if code not in allowed or "error: " not in text or words not in text:
                n_bad += 1
                print(f"FAIL  {what}: exit {code}, want {wanted} and {words!r}: {text[-300:]!r}", flush=True)
            elif "--list" in sys.argv:
                print(f"      {what}: exit {code}: {text.strip().splitlines()[-1]}")
    print(f"{n - n_bad} passed, {n_bad} failed", flush=True)
    sys.exit(bool(n_bad))


if __name__ == "__main__":
    main()
