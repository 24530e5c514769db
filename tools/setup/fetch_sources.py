"""Fetches the sources that are built from a PyPI archive into third_party/, each pinned by the sha256 of its archive.

Does nothing, and needs no network, when the unpacked folder is there with the right mark (a .sha256 file inside it)."""
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = {
    # folder: (name, version, sha256 of the source archive, what of it is needed)
    "xgrammar": ("xgrammar", "0.2.8", "8305646fd2b319d6c3003f51a1665e54cbbe9cba1fb636bc41d0b46434ccbb80",
                 ("cpp", "include", "3rdparty/dlpack/include", "3rdparty/picojson", "LICENSE", "NOTICE")),
}


def wanted(path, parts):
    return any(path == part or path.startswith(part + "/") for part in parts)


def fetch(folder, name, version, sha256, parts):
    target = ROOT / "third_party" / folder
    mark = target / ".sha256"
    if mark.exists() and mark.read_text().strip() == sha256:
        print(f"third_party/{folder}: present", file=sys.stderr)
        return
    print(f"third_party/{folder}: fetching {name} {version}", file=sys.stderr)
    target.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        aside = pathlib.Path(temporary)
        pins = aside / "requirements.txt"
        pins.write_text(f"{name}=={version} --hash=sha256:{sha256}\n")
        # pip compares the archive with the hash before it opens it
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name,
                        "--require-hashes", "-d", temporary, "-r", str(pins)], check=True)
        archive = next(aside.glob(f"{name}-{version}*.tar.gz"))
        unpacked = aside / "unpacked"
        with tarfile.open(archive) as tar:
            for member in tar:
                inside = member.name.partition("/")[2]
                if member.isfile() and wanted(inside, parts):
                    out = unpacked / inside
                    out.parent.mkdir(parents=True, exist_ok=True)
                    out.write_bytes(tar.extractfile(member).read())
        (unpacked / ".sha256").write_text(sha256 + "\n")
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)


for source_folder, row in SOURCES.items():
    fetch(source_folder, *row)
