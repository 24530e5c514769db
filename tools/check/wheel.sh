#!/usr/bin/env bash
# Builds the Python wheel, installs it into an empty venv, and uses it there: wheel.sh MODEL. Part of ./check --clients.
# Needs the network for scikit-build-core; the CMake tree of the wheel is kept in build/wheel.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=$(realpath "$1")
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1  # what the release build compiled is found again
venv=.venv/wheel
out=build/check/wheels
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
rm -rf "$out"
"$venv/bin/python" -m pip wheel -q --no-deps -w "$out" -C build-dir="$PWD/build/wheel" ./python
"$venv/bin/python" -m pip install -q --no-index --force-reinstall "$out"/millrace-*.whl
cd /  # nothing of the source tree is found by chance
env -u PYTHONPATH -u MILLRACE_LIBRARY "$OLDPWD/$venv/bin/python" "$OLDPWD/tests/python/wheel_test.py" "$model"
