"""Packages and files for deployment: deploy_test.py BUILD_FOLDER

Builds the .deb and the .tar.gz, installs from both into empty folders and runs what they hold; checks that the dashboard
asks for metrics that exist, that the probes of the manifests are routes, and that systemd accepts the unit. What cannot be
tried here (containers, a cluster) is only read: see docs/howto/deploy.md."""
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import tarfile

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests/support"))
import checks  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1]).resolve()


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise AssertionError(f"{command[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return done.stdout


def metric_names():
    """name -> kind, as the server's table has them."""
    rows = re.findall(r'"((?:vllm|millrace):[a-z0-9_]+)",\s*k(Gauge|Counter|Histogram)', (ROOT / "src/server/metric_table.cc").read_text())
    assert len(rows) > 50, rows
    return dict(rows)


def package_holds_a_program():
    with tempfile.TemporaryDirectory() as folder:
        run("cpack", "-G", "DEB;TGZ", "-B", folder, cwd=BUILD)
        deb = next(pathlib.Path(folder).glob("*.deb"))
        depends = run("dpkg-deb", "-f", deb, "Depends")
        assert "libc6" in depends and "libstdc++6" in depends and "libfmt9" in depends, depends
        run("dpkg-deb", "-x", deb, folder + "/deb")
        with tarfile.open(next(pathlib.Path(folder).glob("*.tar.gz"))) as archive:
            archive.extractall(folder + "/tgz", filter="data") if sys.version_info >= (3, 12) else archive.extractall(folder + "/tgz")
        programs = [pathlib.Path(folder) / "deb/usr/bin/millrace", *pathlib.Path(folder).glob("tgz/*/bin/millrace"),
                    *pathlib.Path(folder).glob("tgz/*/usr/bin/millrace")]
        assert len(programs) == 2, programs
        for program in programs:
            assert run(program, "version").startswith("millrace "), program
        for path in ("lib/systemd/system/millrace.service", "usr/lib/systemd/system/millrace.service"):
            if (pathlib.Path(folder) / "deb" / path).exists():
                break
        else:
            raise AssertionError("the package holds no unit")
        assert (pathlib.Path(folder) / "deb/usr/share/millrace/grafana.json").exists()


def install_holds_a_program():
    with tempfile.TemporaryDirectory() as folder:
        run("cmake", "--install", BUILD, "--prefix", folder)
        assert run(folder + "/bin/millrace", "version").startswith("millrace ")
        # serve takes every key of the configuration file that comes along, also those in comments
        config = pathlib.Path(folder) / "all.toml"
        text = (pathlib.Path(folder) / "share/millrace/millrace.toml").read_text()
        keys = pathlib.Path(folder) / "keys"
        keys.write_text("a-key-of-the-test\n")
        text = text.replace("/etc/millrace/keys", str(keys))
        config.write_text(re.sub(r"(?m)^# ([a-z-]+ = )", r"\1", text) + 'isa = "none such"\n')
        done = subprocess.run([folder + "/bin/millrace", "serve", "--config", str(config)], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith("error: isa none such: unknown"), done.stderr


def dashboard_asks_for_metrics_that_exist():
    known = metric_names()
    board = json.loads((ROOT / "deploy/grafana.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(asked) >= 20
    for expression in asked:
        for name in re.findall(r"(?:vllm|millrace):[a-z0-9_]+", expression):
            base = re.sub(r"_bucket$", "", name)
            assert base in known, f"{name} is no metric of the server"
            assert (base != name) == (known[base] == "Histogram"), f"{name}: wrong use of a {known[base]}"
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len(places)


def probes_are_routes():
    routes = set(re.findall(r'\.path = "([^"]+)"', (ROOT / "src/server/routes.cc").read_text()))
    documents = list(yaml.safe_load_all((ROOT / "deploy/kubernetes/millrace.yaml").read_text()))
    kinds = {d["kind"]: d for d in documents}
    assert set(kinds) == {"PersistentVolumeClaim", "Deployment", "Service"}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    box = pod["containers"][0]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert box[probe]["httpGet"]["path"] in routes, probe
    assert box["livenessProbe"]["httpGet"]["path"] == "/health/live"  # a full queue must not end the pod
    assert kinds["Service"]["spec"]["selector"] == kinds["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert {m["name"] for m in box["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    compose = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
    assert (ROOT / "deploy" / compose["services"]["millrace"]["build"]["dockerfile"].removeprefix("deploy/")).exists()
    flags = run(BUILD / "millrace", "serve", "--help")
    for word in box["args"] + compose["services"]["millrace"]["command"]:
        assert not word.startswith("--") or word in flags, f"{word} is no flag of serve"
    # draining ends before the machine's patience
    drain = int(re.search(r"--shutdown-timeout(?:,\S+)? N=(\d+)", flags)[1]) + 5
    assert pod["terminationGracePeriodSeconds"] > drain and int(compose["services"]["millrace"]["stop_grace_period"][:-1]) > drain


def container_file_is_whole():
    lines = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(None, 1)[0] for line in lines if line and not line.startswith("#")]
    assert set(steps) <= {"FROM", "WORKDIR", "COPY", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "ENTRYPOINT", "CMD"}, steps
    assert steps.count("FROM") == 2 and "USER" in steps
    assert json.loads(next(line for line in lines if line.startswith("ENTRYPOINT")).split(None, 1)[1])[0] == "millrace"


def systemd_takes_the_unit():
    with tempfile.TemporaryDirectory() as folder:
        unit = pathlib.Path(folder) / "millrace.service"
        unit.write_text((ROOT / "deploy/millrace.service").read_text().replace("/usr/bin/millrace", str(BUILD / "millrace")))
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
        bad = [line for line in (done.stdout + done.stderr).splitlines() if "millrace.service" in line]
        assert done.returncode == 0 and not bad, bad or done.stderr


CHECKS = [package_holds_a_program, install_holds_a_program, dashboard_asks_for_metrics_that_exist, probes_are_routes, container_file_is_whole,
          systemd_takes_the_unit]

if __name__ == "__main__":
    sys.exit(checks.run(CHECKS))
