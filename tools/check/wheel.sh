#!/usr/bin/env bash
# Builds the Python wheel and installs it into a venv: wheel.sh VENV [ENGINE_BUILD].
# With a build folder of the engine only the extension module is compiled, against that; else the engine is built too.
# The build requirements of python/pyproject.toml come from the network once.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
venv=$1
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # what the release build compiled is found again
work=build/$(basename "$venv")-wheel
engine=()
[ -z "${2:-}" ] || engine=("--config-settings=cmake.define.MILLRACE_BUILD=$(realpath "$2")")
mapfile -t needs < <(sed -n 's/^requires = //p' python/pyproject.toml | grep -o '[^" ,]*==[^"]*')
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -m pip install -q "${needs[@]}"
rm -rf "$work-out"
"$venv/bin/python" -m pip wheel -q --no-deps --no-build-isolation -w "$work-out" --config-settings=build-dir="$PWD/$work" "${engine[@]}" ./python
"$venv/bin/python" -m pip install -q --no-index --force-reinstall "$work-out"/millrace-*.whl
