"""The unmodified `guidellm` program against a running server: guidellm_client.py TOKENIZER_FOLDER BASE_URL.

Short benchmarks over chat and text completions: every request must be answered, with the tokens asked for. Each check_*
function is one case; the last line is "N passed, N failed"."""
import json
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import checks  # noqa: E402

TOKENIZER, BASE = sys.argv[1], sys.argv[2].rstrip("/")
PROGRAM = pathlib.Path(sys.executable).parent / "guidellm"
REQUESTS, OUT_TOKENS = 6, 12


def benchmark(request_format, *profile):
    """The benchmarks of the report."""
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.json"
        command = [str(PROGRAM), "run", "--backend", f"kind=openai_http,target={BASE},request_format={request_format}", "--profile", *profile,
                   "--constraint", f"kind=max_requests,count={REQUESTS}", "--tokenizer", f"kind=hf_auto,model={TOKENIZER}",
                   "--data", f"kind=synthetic_text,prompt_tokens=48,output_tokens={OUT_TOKENS}", "--output", f"kind=json,path={report}",
                   "--disable-console"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return json.loads(report.read_text())["benchmarks"]


def answered(benchmarks):
    for one in benchmarks:
        totals = one["metrics"]["request_totals"]
        assert totals["successful"] == REQUESTS and totals["errored"] == 0, totals
        assert one["metrics"]["output_token_count"]["successful"]["mean"] == OUT_TOKENS, one["metrics"]["output_token_count"]["successful"]
    return benchmarks


def check_synchronous_chat():
    [one] = answered(benchmark("/v1/chat/completions", "kind=synchronous"))
    assert one["metrics"]["time_to_first_token_ms"]["successful"]["mean"] > 0


def check_concurrent_completions():
    answered(benchmark("/v1/completions", "kind=concurrent,streams=3"))


if __name__ == "__main__":
    sys.exit(checks.run(checks.named(globals())))
