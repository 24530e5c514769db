#!/usr/bin/env python3
"""Stands in for llama-server when llama.cpp's own test-suite drives our binary (LLAMA_SERVER_BIN_PATH).

Model names that the suite would download become the one model of LLAMA_SUITE_MODEL, those of its embedding and rerank
models the encoder LLAMA_SUITE_ENCODER; every other argument goes to the program LLAMA_SUITE_SERVER (a link named
llama-server) as it came."""
import os
import sys

DROPPED_WITH_VALUE = {"--hf-repo", "--hf-file", "--model-url", "--model", "-m"}
DROPPED = {"--offline"}
ENCODERS = ("bert-bge-small", "jina-reranker")


def translated(arguments):
    encoder = any(name in argument for name in ENCODERS for argument in arguments)
    out = ["--model", os.environ["LLAMA_SUITE_ENCODER" if encoder else "LLAMA_SUITE_MODEL"]]
    rest = iter(arguments)
    for argument in rest:
        if argument in DROPPED_WITH_VALUE:
            next(rest, None)
        elif argument not in DROPPED:
            out.append(argument)
    return out


if __name__ == "__main__":
    program = os.environ["LLAMA_SUITE_SERVER"]
    os.execv(program, [program, *translated(sys.argv[1:])])
