"""Objects of an ISA folder define symbols of that ISA's namespace only and none that the linker may merge with another
folder's (weak), so no AVX-512 copy of a shared inline function can reach a machine without it. Needs a build folder."""
import pathlib
import re
import subprocess
import sys

import common

ISAS = ("avx2", "avx512vnni", "amx")
GLOBAL = set("TDBRVWuvw")
FORTIFIED = re.compile(r"__(?!stack_chk)\w+_chk\b")


def check(build):
    objects = sorted(pathlib.Path(build).glob("CMakeFiles/millrace_kernels.dir/src/kernels/cpu/*/*.o"))
    for isa in ISAS:
        if not any(f"/cpu/{isa}/" in str(o) for o in objects):
            yield f"{build}: no objects of cpu/{isa}"
    for obj in objects:
        isa = obj.parent.name
        if isa not in ISAS or obj.name.endswith("_test.cc.o"):
            continue
        out = subprocess.run(["nm", "-C", "--defined-only", str(obj)], capture_output=True, text=True, check=True).stdout
        for line in out.splitlines():
            match = re.match(r"^[0-9a-f]* *([A-Za-z]) (.*)$", line)
            if not match or match[1] not in GLOBAL:
                continue
            kind, name = match[1], match[2]
            if kind in "VWuvw":
                yield f"{obj.relative_to(build)}: weak symbol {name}"
            elif not name.startswith(f"millrace::kernels::{isa}::"):
                yield f"{obj.relative_to(build)}: {name} lies outside millrace::kernels::{isa}"
    binary = pathlib.Path(build) / "millrace"
    if binary.exists():
        head = subprocess.run(["readelf", "-hldW", str(binary)], capture_output=True, text=True, check=True).stdout
        for wanted in ("DYN", "GNU_RELRO", "NOW"):
            if not re.search(rf"\b{wanted}\b", head):
                yield f"{binary}: hardening: no {wanted}"
        if re.search(r"GNU_STACK.*RWE", head):
            yield f"{binary}: hardening: executable stack"
        symbols = subprocess.run(["nm", "-D", str(binary)], capture_output=True, text=True, check=True).stdout
        if "__stack_chk_fail" not in symbols:
            yield f"{binary}: hardening: no __stack_chk_fail symbol"
        if not FORTIFIED.search(symbols):
            yield f"{binary}: hardening: no fortified function"
