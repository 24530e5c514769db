"""How far Millrace and llama.cpp are from f32 on the same file, text and windows: bench/fidelity.py MODEL.gguf TEXT [--chunks 8].

The base is llama.cpp's own f32 run of the dequantised weights (llama-quantize to F32, f32 KV cache, no flash attention), so
the comparison leans, if anything, to its side. Both report the mean KL divergence over the second half of each window.
Needs bench/peers/llama_cpp.sh; takes 4 bytes a parameter and, for a large vocabulary, some GB of scratch space."""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
MILLRACE = ROOT / "build/release/millrace"
PEER = ROOT / "build/peers/llama.cpp/bin"


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout + done.stderr


def peer_kl(output):
    kl = re.search(r"Mean\s+KLD:\s+([-\d.]+)\s*±\s*([\d.]+)", output)
    top = re.search(r"Same top p:\s+([\d.]+)", output)
    return float(kl.group(1)), float(kl.group(2)), float(top.group(1)) / 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("text")
    parser.add_argument("--chunks", type=int, default=8)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--kv", default="bf16", help="Millrace's KV cache: bf16 or int8")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        f32, base = pathlib.Path(scratch) / "f32.gguf", pathlib.Path(scratch) / "base.bin"
        run(PEER / "llama-quantize", "--allow-requantize", args.model, f32, "F32")
        window = ["-c", args.ctx, "--chunks", args.chunks]
        run(PEER / "llama-perplexity", "-m", f32, "-f", args.text, *window, "--kl-divergence-base", base, "-ctk", "f32", "-ctv", "f32", "-fa", "off")
        f32.unlink()
        peer = peer_kl(run(PEER / "llama-perplexity", "-m", args.model, "-f", args.text, *window, "--kl-divergence-base", base, "--kl-divergence"))
        ours = subprocess.run([str(c) for c in (MILLRACE, "perplexity", args.model, "--kl-divergence", base, "--kv-cache-dtype", args.kv, "--json")],
                              capture_output=True, text=True, check=True)
    report = json.loads(ours.stdout)
    print(f"{'':12}{'mean KL':>10}{'std err':>10}{'same top':>10}")
    print(f"{'millrace':12}{report['mean_kl']:10.5f}{report['mean_kl_standard_error']:10.5f}{report['same_top']:10.3%}   perplexity x {report['perplexity_ratio']:.4f}")
    print(f"{'llama.cpp':12}{peer[0]:10.5f}{peer[1]:10.5f}{peer[2]:10.3%}")
    print(f"ratio {report['mean_kl'] / peer[0]:.3f} over {report['tokens']} positions")


if __name__ == "__main__":
    main()
