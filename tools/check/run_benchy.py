"""Runs llama-benchy offline: run_benchy.py PROGRAM TOKENIZER_FOLDER BASE_URL. Its text corpus is looked up by the MD5 of
a book's URL in its cache folder; a generated text is placed there, so nothing is fetched."""
import hashlib
import os
import pathlib
import subprocess
import sys

program, tokenizer, base_url = sys.argv[1:]
BOOK = "https://example.invalid/book.txt"
cache = pathlib.Path(os.environ.get("HOME", "/root")) / ".cache/llama-benchy"
cache.mkdir(parents=True, exist_ok=True)
words = ["river", "stone", "market", "winter", "light", "paper", "garden", "house", "story", "engine", "water", "morning"]
text = " ".join(words[(i * i + 3 * i) % len(words)] for i in range(60000))
(cache / (hashlib.md5(BOOK.encode()).hexdigest() + ".txt")).write_text(text)
code = subprocess.run([program, "--base-url", base_url + "/v1", "--model", tokenizer, "--served-model-name", "smollm2", "--tokenizer", tokenizer,
                       "--book-url", BOOK, "--pp", "512", "--tg", "64", "--depth", "0", "--concurrency", "1", "4", "--runs", "2", "--exact-tg",
                       "--latency-mode", "generation", "--skip-coherence", "--exit-on-first-fail"]).returncode
print(f"{int(code == 0)} passed, {int(code != 0)} failed")
sys.exit(code)
