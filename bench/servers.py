"""Servers under measurement, each on a free loopback port, and how to start them: Millrace, llama-server, vLLM CPU.

Engine.command() is the whole difference between the peers; everything else of bench/ speaks HTTP to a Server."""
import dataclasses
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[1]
MILLRACE = ROOT / "build/release/millrace"
PEER = ROOT / "build/peers/llama.cpp/bin"


def run(command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True).stdout


class Server:
    """A server process on a free loopback port, ready when /health says 200."""

    def __init__(self, command, environment=None):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([str(c) for c in command] + ["--port", str(self.port)], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, env={**os.environ, **(environment or {})})
        end = time.monotonic() + 300
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                sys.exit(f"{command[0]} did not become ready")
            time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *failure):
        self.stop()

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=5) as reply:
            return reply.read().decode()

    def ready(self):
        try:
            self.get("/health")
            return True
        except (urllib.error.URLError, OSError):
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self):
        self.process.kill()
        self.process.wait()


@dataclasses.dataclass
class Engine:
    """A way to serve: its name in tables, kind (millrace, llama, vllm), model path and flags of its own."""
    name: str
    kind: str
    model: str
    threads: int
    python: str = sys.executable  # of vLLM's environment
    flags: tuple = ()

    # clients: requests at once; length: tokens of the longest; pool: KV tokens in all, 0 = plenty; kv_token: bytes of one.
    def command(self, clients, length, pool=0, kv_token=0):
        if self.kind == "llama":
            context = ["-c", pool, "--kv-unified"] if pool else ["-c", length * clients]
            return [PEER / "llama-server", "-m", self.model, "-t", self.threads, "-tb", self.threads, "--parallel", clients, *context,
                    "--no-webui", *self.flags]
        if self.kind == "vllm":
            return [self.python, "-m", "vllm.entrypoints.openai.api_server", "--model", self.model, "--dtype", "bfloat16",
                    "--max-model-len", length, "--max-num-seqs", clients, "--served-model-name", "m", "--host", "127.0.0.1", *self.flags]
        memory = ["--kv-cache-memory-bytes", pool * kv_token] if pool else []
        return [MILLRACE, "serve", self.model, "--served-model-name", "m", "--threads", self.threads, *memory, *self.flags]

    # more: further flags; program: another build than that of Engine.command().
    def serve(self, clients, length, pool=0, kv_token=0, more=(), program=None):
        environment = {}
        if self.kind == "vllm":
            gib = max(1, pool * kv_token >> 30) if pool else 2
            environment = {"VLLM_CPU_KVCACHE_SPACE": str(gib), "VLLM_CPU_OMP_THREADS_BIND": f"0-{self.threads - 1}", "HF_HUB_OFFLINE": "1"}
        command = self.command(clients, length, pool, kv_token) + list(more)
        return Server([program or command[0], *command[1:]], environment)
