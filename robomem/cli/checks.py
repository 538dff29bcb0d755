"""What `robomem doctor` looks at, one function each."""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
PROBE_TIMEOUT = 120  # s; a first import of torch from a cold disk takes tens of seconds
EGL_PACKAGES = "libegl1 libgl1 libegl-mesa0 libgl1-mesa-dri libgles2"  # Debian and Ubuntu


@dataclass(frozen=True)
class Finding:
    """One thing looked for: what was found, what it is for, and what to do where it is missing."""

    name: str
    ok: bool
    needed: bool
    found: str
    purpose: str
    remedy: str


def probe(name: str) -> dict[str, Any]:
    """Record of `robomem.cli.probes`, made in a child process; {"error": line} when it fails, crashes or hangs."""
    words = [sys.executable, "-m", "robomem.cli.probes", name]
    try:
        child = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=PROBE_TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {PROBE_TIMEOUT} s"}
    if child.returncode < 0:
        return {"error": f"crashed with signal {-child.returncode}"}
    if child.returncode:
        return {"error": (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]}
    record: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return record


def python_and_packages(_: float) -> Finding:
    """Python 3.12 and every package that pyproject.toml asks for, in the versions it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wrong = [problem for line in project["dependencies"] if (problem := _wrong_version(Requirement(line)))]
    if sys.version_info[:2] != (3, 12):
        wrong.insert(0, f"Python is {platform.python_version()}, 3.12 is needed")
    count = len(project["dependencies"])
    found = "; ".join(wrong) or f"Python {platform.python_version()}, all {count} packages in range"
    return Finding("python, packages", not wrong, True, found, "everything", "make setup")


def _wrong_version(requirement: Requirement) -> str:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is not installed"
    in_range = requirement.specifier.contains(version)
    return "" if in_range else f"{requirement.name} is {version}, expected {requirement.specifier}"


def rendering(_: float) -> Finding:
    """A picture that MuJoCo really rendered through EGL."""
    record = probe("egl")
    drawn = record.get("values", 0) > 10
    found = f"EGL renders, by {record['renderer']}" if drawn else record.get("error", "EGL renders one colour only")
    remedy = f"sudo apt-get install {EGL_PACKAGES}  (or `make setup` as root)"
    return Finding("rendering", drawn, True, found, "camera pictures in simulation, with no screen", remedy)


def gpu(_: float) -> Finding:
    """GPUs that torch can use."""
    record = probe("gpu")
    devices = record.get("devices", [])
    found = "; ".join(devices) or record.get("error", f"torch sees none (built for CUDA {record.get('cuda')})")
    remedy = "install NVIDIA's driver (`nvidia-smi` must list the card); nothing else changes"
    return Finding("gpu", bool(devices), False, found, "faster training; the shipped policy needs none", remedy)


def cpu(_: float) -> Finding:
    """Cores that this process may use."""
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    found = f"{cores} cores, OMP_NUM_THREADS {threads}, load {os.getloadavg()[0]:.1f}"
    return Finding("cpu", cores >= 2, False, found, "two workers at a time", "use a machine with two cores or more")


def disk(min_disk_gb: float) -> Finding:
    """Free space in the current folder: results go to outputs/ there, unless out=DIR says otherwise."""
    free_gb = shutil.disk_usage(Path.cwd()).free / 1e9
    found = f"{free_gb:.0f} GB free in {Path.cwd()}"
    remedy = f"free {min_disk_gb:g} GB, or use out=DIR elsewhere"
    return Finding("disk", free_gb >= min_disk_gb, True, found, "demonstrations, videos and checkpoints", remedy)


def checkpoint(_: float) -> Finding:
    """The policy that ships with the repository."""
    found = sorted((ROOT / "policies").glob("*/checkpoints/*.safetensors"))
    names = ", ".join(f"{path.relative_to(ROOT)} ({path.stat().st_size / 1e6:.1f} MB)" for path in found)
    remedy = "git checkout policies, or `robomem collect` and `robomem train`"
    names = names or "none in policies/*/checkpoints"
    return Finding("checkpoint", bool(found), True, names, "demo, eval and run", remedy)


def encoders(_: float, cache: Path | None = None) -> Finding:
    """Published weights that conf/vlm/ names: folders, or names in the Hugging Face `cache`. Asks no network."""
    paths = _published()
    snapshots = _snapshots(cache)
    here = {name for name, path in paths.items() if any(map(_has_weights, (Path(path), *snapshots.get(path, ()))))}
    said = [f"{name} ({path})" for name, path in paths.items() if name in here]
    missing = {name: path for name, path in paths.items() if name not in here}
    found = f"here: {', '.join(said) or 'none'}"
    if missing:
        found += f"; not here: {', '.join(f'{name} ({path})' for name, path in missing.items())}"
    commands = "; ".join(f"hf download {path}" for path in missing.values())
    remedy = f"{commands}  (refused: accept the terms on its page, then `hf auth login`)"
    purpose = "seeing and reading with published vision-language models; the shipped policy needs none"
    return Finding("published encoders", not missing, False, found, purpose, remedy)


def _published() -> dict[str, str]:
    """The `path` of every file in conf/vlm/ that names one."""
    files: dict[str, Any] = {each.stem: OmegaConf.load(each) for each in sorted((ROOT / "conf/vlm").glob("*.yaml"))}
    return {name: str(file.path) for name, file in files.items() if OmegaConf.select(file, "path") is not None}


def _snapshots(cache: Path | None) -> dict[str, list[Path]]:
    """Of every model in the Hugging Face cache, the folders of its revisions."""
    from huggingface_hub import CacheNotFound, scan_cache_dir

    try:
        repos = scan_cache_dir(cache).repos
    except CacheNotFound:
        return {}
    return {
        repo.repo_id: [each.snapshot_path for each in repo.revisions] for repo in repos if repo.repo_type == "model"
    }


def _has_weights(folder: Path) -> bool:
    """Whether a model lies in `folder`, with all files of its weights."""
    index = folder / "model.safetensors.index.json"
    if not (folder / "config.json").is_file():
        return False
    if not index.is_file():
        return any(folder.glob("*.safetensors"))
    files = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    return all((folder / file).is_file() for file in files)


def realtime(_: float) -> Finding:
    """Real-time scheduling: SCHED_FIFO, locked memory, and the kernel."""
    record = probe("realtime")
    names = {"SCHED_FIFO": "fifo_error", "mlockall": "mlockall_error", "probe": "error"}
    wrong = [f"{name}: {record[key]}" for name, key in names.items() if record.get(key)]
    preempt = "PREEMPT_RT" in platform.version() or Path("/sys/kernel/realtime").exists()
    limits = f"rtprio limit {_limit(resource.RLIMIT_RTPRIO)}, memlock limit {_limit(resource.RLIMIT_MEMLOCK)}"
    kernel = "PREEMPT_RT kernel" if preempt else "ordinary kernel"
    found = f"{'; '.join(wrong) or 'SCHED_FIFO and mlockall allowed'}; {limits}; {kernel}"
    remedy = (
        "put `@realtime - rtprio 99` and `@realtime - memlock unlimited` into /etc/security/limits.d/99-realtime.conf, "
        "`sudo groupadd realtime; sudo usermod -aG realtime $USER`, log in again; "
        "below 1 ms also `sudo apt-get install linux-image-rt-amd64`"
    )
    purpose = "an arm process that is never late; simulation needs none"
    return Finding("real-time", not wrong, False, found, purpose, remedy)


def _limit(kind: int) -> str:
    soft, _ = resource.getrlimit(kind)
    return "unlimited" if soft == resource.RLIM_INFINITY else str(soft)


def serial_ports(_: float) -> Finding:
    """Serial devices, and whether this user may open them."""
    ports = sorted(port for pattern in ("ttyUSB*", "ttyACM*") for port in Path("/dev").glob(pattern))
    closed = [str(port) for port in ports if not os.access(port, os.R_OK | os.W_OK)]
    found = ", ".join(map(str, ports)) or "no /dev/ttyUSB* or /dev/ttyACM*"
    if closed:
        found += f"; not allowed to open {', '.join(closed)}"
    remedy = "sudo usermod -aG dialout $USER, log in again" if closed else "plug the arm or gripper in by USB"
    purpose = "arms and grippers on a serial bus"
    return Finding("serial ports", bool(ports) and not closed, False, found, purpose, remedy)


CHECKS: tuple[Callable[[float], Finding], ...] = (
    python_and_packages, rendering, checkpoint, disk, cpu, gpu, encoders, realtime, serial_ports,
)  # fmt: skip
