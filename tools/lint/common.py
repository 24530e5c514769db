"""What every lint shares: the list of our files, the exemption list, and how a finding is printed."""
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE_DIRS = ("src", "tests", "bench", "python")
CODE_SUFFIXES = (".h", ".cc", ".inc")


def code_files(dirs=SOURCE_DIRS):
    """Tracked and untracked (not ignored) C++ files, as paths relative to the root."""
    out = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", *dirs],
                         capture_output=True, text=True, check=True).stdout.split("\n")
    return [p for p in sorted(out) if p.endswith(CODE_SUFFIXES) and (ROOT / p).exists()]


def read(path):
    return (ROOT / path).read_text(encoding="utf-8")


def allowed(rule):
    """Paths exempt from a rule. tools/lint/allow has lines `rule path reason`."""
    paths = set()
    for line in (ROOT / "tools/lint/allow").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            name, path, reason = line.split(None, 2)
            assert reason, f"tools/lint/allow: no reason given for {path}"
            if name == rule:
                paths.add(path)
    return paths
