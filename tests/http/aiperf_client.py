"""The unmodified `aiperf` program against a running server: aiperf_client.py TOKENIZER_FOLDER BASE_URL.

Each endpoint type that the server has, a short run of it: every request must be answered, with the tokens asked for, and
the server's metrics must be found by their names. Each check_* function is one case; the last line is "N passed, N failed"."""
import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

TOKENIZER, BASE = sys.argv[1], sys.argv[2].rstrip("/")
PROGRAM = pathlib.Path(sys.executable).parent / "aiperf"
NAME = json.load(urllib.request.urlopen(BASE + "/v1/models", timeout=10))["data"][0]["id"]
REQUESTS, IN_TOKENS, OUT_TOKENS = 6, 48, 12


def profile(kind, *flags):
    with tempfile.TemporaryDirectory() as folder:
        command = [str(PROGRAM), "profile", "--model", NAME, "--url", BASE, "--endpoint-type", kind, "--tokenizer", TOKENIZER, "--ui", "none",
                   "--request-count", str(REQUESTS), "--concurrency", "2", "--synthetic-input-tokens-mean", str(IN_TOKENS), "--no-gpu-telemetry",
                   "--workers-max", "1", "--record-processors", "1", "--artifact-dir", folder, *flags]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        made = {path.name: json.loads(path.read_text()) for path in pathlib.Path(folder).rglob("*.json")}
    report = made["profile_export_aiperf.json"]
    assert report["request_count"]["avg"] == REQUESTS and not report.get("error_request_count"), report
    return report, made


EXACT = ("--output-tokens-mean", str(OUT_TOKENS), "--extra-inputs", "ignore_eos:true", "--extra-inputs", f"min_tokens:{OUT_TOKENS}", "--use-server-token-count")


def check_chat_streams():
    report, made = profile("chat", "--streaming", *EXACT)
    assert report["output_sequence_length"]["avg"] == OUT_TOKENS and report["time_to_first_token"]["avg"] > 0, report
    assert report["inter_token_latency"]["avg"] > 0
    metrics = json.dumps([value for name, value in made.items() if "server_metrics" in name])
    assert "vllm:num_requests_running" in metrics and "vllm:time_to_first_token_seconds" in metrics, sorted(made)


def check_chat_whole():
    assert profile("chat", *EXACT)[0]["output_sequence_length"]["avg"] == OUT_TOKENS


def check_completions_streams():
    assert profile("completions", "--streaming", *EXACT)[0]["output_sequence_length"]["avg"] == OUT_TOKENS


def check_responses_streams():
    profile("responses", "--streaming", "--output-tokens-mean", "16")


def check_anthropic_messages():
    profile("messages", "--streaming", "--output-tokens-mean", "16")


def check_embeddings():
    profile("embeddings")


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
