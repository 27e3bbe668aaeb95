"""The steps of the Dockerfile, run in roots that debootstrap makes; there is no Docker here.

Each stage is a copy of the root of its base. Every ENV, WORKDIR, COPY and RUN is executed as
written, with one exception: packages that `pyproject.toml` depends on come from this environment,
because they are gigabytes. Not proven: the base image itself, the downloads of PyTorch, CUDA, and
what the Docker daemon adds (its seccomp profile, its network).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deployment_files import DEPLOY, ROOT, list_stages
from pinpoint.tasks import JOBS_QUEUE

NEEDED = ("debootstrap", "unshare", "chroot", "setpriv")
MIRROR = "http://deb.debian.org/debian"
SUITE = "bookworm"
HOST_PACKAGES = "/host-packages"
SCRIPTS = {"alembic": "alembic.config", "celery": "celery.__main__"}
HOST_LIBRARY = str(Path(importlib.util.find_spec("torch").origin).parents[1])
DOCKER_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
TORCH_STEP = re.compile(r"/opt/pinpoint/bin/pip install [^&]*?torch==.*?&& ", re.DOTALL)
CONFINED = "setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all"

pytestmark = pytest.mark.timeout(1_800)


class ImageBuilder:
    """Builds stages of the Dockerfile as folders, and runs commands in them."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.folder = folder
        self._roots = {"${DEBIAN_IMAGE}": base}
        self._workdirs = {"${DEBIAN_IMAGE}": "/"}
        self.environment: dict[str, dict[str, str]] = {"${DEBIAN_IMAGE}": {}}

    def build(self, stage: str) -> Path:
        """Root of a stage; its bases are built first."""
        if stage in self._roots:
            return self._roots[stage]
        text = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
        (base,) = re.findall(rf"^FROM (\S+) AS {stage}$", text, re.MULTILINE)
        root = self.folder / stage
        subprocess.run(["cp", "-a", self.build(base), root], check=True)
        self.environment[stage] = dict(self.environment[base])
        self._roots[stage] = root
        workdir = self._workdirs[base]
        for instruction in list_stages()[stage].replace("\\\n", " ").splitlines():
            name, _, rest = instruction.strip().partition(" ")
            if name == "ENV":
                for assignment in shlex.split(rest):
                    variable, _, value = assignment.partition("=")
                    value = value.replace("$PATH", DOCKER_PATH)
                    self.environment[stage][variable] = value
            elif name == "WORKDIR":
                workdir = rest
                (root / workdir.lstrip("/")).mkdir(parents=True, exist_ok=True)
            elif name == "COPY":
                self._copy(root, workdir, rest)
            elif name == "RUN":
                self._run_step(stage, workdir, rest)
        self._workdirs[stage] = workdir
        return root

    def _copy(self, root: Path, workdir: str, arguments: str) -> None:
        words = shlex.split(arguments)
        options = dict(word[2:].split("=") for word in words if word.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        folder = self.build(options["from"]) if "from" in options else ROOT
        destination = root / os.path.join(workdir, target).lstrip("/")
        for source in sources:
            path = folder / source.lstrip("/")
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "node_modules")
                shutil.copytree(
                    path, destination, symlinks=True, ignore=ignored, dirs_exist_ok=True
                )
                continue
            if target.endswith("/"):
                destination.mkdir(parents=True, exist_ok=True)
            copied = Path(shutil.copy(path, destination))
            if "chmod" in options:
                copied.chmod(int(options["chmod"], 8))

    def _run_step(self, stage: str, workdir: str, step: str) -> None:
        if TORCH_STEP.search(step):
            link = f"/opt/pinpoint/lib/python3.11/site-packages/{HOST_PACKAGES.strip('/')}.pth"
            step = TORCH_STEP.sub(f"echo {HOST_PACKAGES} >{link} && ", step)
            # Only what differs from `constraints.txt` is then downloaded.
        self.run(stage, ["sh", "-euc", step], workdir=workdir, timeout_s=900)
        scripts = self.build(stage) / "opt" / "pinpoint" / "bin"
        for name, module in SCRIPTS.items() if scripts.is_dir() else ():
            # As pip writes them for packages that it installs.
            lines = ["#!/opt/pinpoint/bin/python", "import sys", f"from {module} import main"]
            (scripts / name).write_text("\n".join([*lines, "sys.exit(main())", ""]))
            (scripts / name).chmod(0o755)

    def start(
        self,
        stage: str,
        command: list[str],
        home: Path | None = None,
        *,
        workdir: str = "/",
        **variables: str,
    ) -> subprocess.Popen[str]:
        """Start a command in a stage; with a home it is confined like a container.

        Confined: uid 10001 without capabilities, a read-only root, the home and a tmpfs on /tmp.
        """
        root = self.build(stage)
        # A namespace of its own: its mounts end with the command.
        mounts = [f"mount --bind {root} {root}", f"mount -t proc proc {root}/proc"]
        mounts += [f"mount --bind /dev {root}/dev"]
        mounts += self._mount(HOST_LIBRARY, f"{root}{HOST_PACKAGES}")
        environment = {"PATH": DOCKER_PATH, **self.environment[stage]}
        user = ""
        if home is None:
            # Where a company's proxy signs connections, pip needs the certificates of this machine.
            mounts += self._mount(HOST_CERTIFICATES, f"{root}/host-certificates.crt")
            environment["PIP_CERT"] = "/host-certificates.crt"
        else:
            user = CONFINED
            mounts += [f"mount --bind {home} {root}/var/lib/pinpoint"]
            mounts += [f"mount -t tmpfs -o size=256m tmpfs {root}/tmp"]
            mounts += [f"mount -o remount,ro,bind {root}"]
        script = "\n".join(["set -eu", *mounts, f'exec chroot {root} {user} env -C {workdir} "$@"'])
        unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
        return subprocess.Popen(
            [*unshare, "sh", "-c", script, "sh", *command],
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    @staticmethod
    def _mount(source: str, target: str) -> list[str]:
        if not os.path.exists(source):
            return []
        make = "mkdir -p" if os.path.isdir(source) else "touch"
        return [f"{make} {target}", f"mount --bind {source} {target}"]

    def run(
        self,
        stage: str,
        command: list[str],
        *,
        workdir: str = "/",
        home: Path | None = None,
        timeout_s: float = 120,
        **variables: str,
    ) -> str:
        """Run a command in a stage and return its output."""
        process = self.start(stage, command, home, workdir=workdir, **variables)
        try:
            output, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            stop(process)
            raise
        assert process.returncode == 0, f"{command} in {stage}\n{output[-4000:]}"
        return output


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> ImageBuilder:
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("debootstrap and chroot need root")
    folder = tmp_path_factory.mktemp("images")
    base = Path(os.environ.get("PINPOINT_TEST_DEBIAN_ROOT") or folder / "debian")
    if not base.exists():
        command = ["debootstrap", "--variant=minbase", SUITE, base, MIRROR]
        completed = subprocess.run(command, capture_output=True, text=True, timeout=900)
        if completed.returncode != 0:
            pytest.skip(f"debootstrap failed: {completed.stdout[-300:]}")
    shutil.copy("/etc/resolv.conf", base / "etc" / "resolv.conf")
    builder = ImageBuilder(base, folder)
    # Not `worker-gpu`: it differs by the packages that are not installed here.
    for target in ("api", "worker-cpu"):
        builder.build(target)
    return builder


class PortForwarder:
    """A TCP port of loopback that leads to a Unix socket: containers reach services by TCP."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._path))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                target.sendall(data)
        except OSError:
            pass  # the other direction has ended the connection
        finally:
            target.close()

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def services(postgres, server_paths, redis_url, tmp_path) -> Iterator[dict[str, str]]:
    """Variables of an empty database and the run's Redis, over TCP."""
    postgres.prepare("container")  # with the extensions, which need a superuser
    database = PortForwarder(server_paths.postgres_socket_dir / ".s.PGSQL.5432")
    broker = PortForwarder(server_paths.redis_socket)
    at = f"127.0.0.1:{database.port}/container"
    try:
        yield {
            "PINPOINT_DATABASE_URL": f"postgresql://pinpoint@{at}",
            "PINPOINT_API_DATABASE_URL": f"postgresql://pinpoint_api@{at}",
            "PINPOINT_BROKER_URL": f"redis://127.0.0.1:{broker.port}/0",
        }
    finally:
        database.close()
        broker.close()
        postgres.drop("container")


@pytest.fixture
def home(tmp_path) -> Path:
    """The volume of the home, owned by the user of the image."""
    folder = tmp_path / "volume"
    folder.mkdir(mode=0o700)
    os.chown(folder, 10001, 10001)
    return folder


def read_instruction(stage: str, pattern: str) -> list[str]:
    (text,) = re.findall(pattern, list_stages()[stage].replace("\\\n", " "), re.MULTILINE)
    return json.loads(text)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > until:
            pytest.fail(f"not reached within {seconds} s:\n{stop(process)[-4000:]}")
        time.sleep(0.5)


def stop(process: subprocess.Popen[str]) -> str:
    """End a command and return its output.

    Its children are ended as well: the change of the user clears what `--kill-child` has set.
    """
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    return process.communicate()[0]


def read_json(url: str) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, {}


def test_stages_install_the_wheels_and_the_command_runs(images, home):
    output = images.run("api", ["pinpoint", "--help"], home=home)
    assert "Start the embedded stack" in output
    code = "import os, pinpoint, pinpoint_workers; print(pinpoint.__file__, os.getuid())"
    path, uid = images.run("api", ["python", "-c", code], home=home).split()
    assert path.startswith("/opt/pinpoint/")
    assert uid == "10001"
    assert not (images.build("api") / "source").exists(), "sources are only in the build stage"
    output = images.run("api", ["sh", "-c", "touch /opt/x || echo refused"], home=home)
    assert output.splitlines()[-1] == "refused"


def test_migration_and_api_start_on_a_read_only_root(images, home, services):
    images.run("api", ["alembic", "upgrade", "head"], home=home, **services)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        **{name: url for name, url in services.items() if name != "PINPOINT_DATABASE_URL"},
        "PINPOINT_API_PORT": str(port),
        "PINPOINT_API_METRICS_TOKEN": "a-token-for-prometheus",
    }
    api = images.start("api", read_instruction("api", r"^CMD (\[.*\])$"), home, **variables)
    try:
        base = f"http://127.0.0.1:{port}"
        wait_for(lambda: read_json(f"{base}/health/live")[0] == 200, api, 120)
        check = read_instruction("api", r"^HEALTHCHECK .*? CMD (\[.*\])$")
        images.run("api", [word.replace("8080", str(port)) for word in check], home=home)
        status, ready = read_json(f"{base}/health/ready")
        # There is no Qdrant server here.
        assert status == 503
        states = {name: component["ok"] for name, component in ready["components"].items()}
        assert states == {"database": True, "broker": True, "index": False}
        request = urllib.request.Request(f"{base}/metrics")
        request.add_header("Authorization", "Bearer a-token-for-prometheus")
        with urllib.request.urlopen(request, timeout=10) as response:
            assert b'pinpoint_component_up{component="database"} 1.0' in response.read()
        # As the guide creates the first key: beside the API, with the owner's login.
        create = ["pinpoint", "keys", "create", "first", "--role", "admin", "--json"]
        printed = json.loads(images.run("api", create, home=home, **services))
        request = urllib.request.Request(f"{base}/v1/sources")
        request.add_header("Authorization", f"Bearer {printed['secret']}")
        with urllib.request.urlopen(request, timeout=10) as response:
            assert response.status == 200
    finally:
        stop(api)


def test_worker_answers_its_health_check(images, home, services):
    images.run("api", ["alembic", "upgrade", "head"], home=home, **services)
    # The queue of jobs: its worker opens the index with its first job only.
    command = read_instruction("worker-cpu", r"^CMD (\[.*\])$")
    command[command.index("-Q") + 1] = JOBS_QUEUE
    worker = images.start("worker-cpu", command, home, **services)
    try:

        def answers() -> bool:
            probe = images.start("worker-cpu", ["ping-worker", "worker"], home, **services)
            probe.communicate(timeout=60)
            return probe.returncode == 0

        wait_for(answers, worker, 180)
        other = images.start("worker-cpu", ["ping-worker", "somebody"], home, **services)
        other.communicate(timeout=60)
        assert other.returncode != 0
    finally:
        stop(worker)
