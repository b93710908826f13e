"""Where does the outside anchor run? In an environment of its own, beside the project's torch.

Apple's pfl-research pins packages that roundlog has no use for, so it never enters the project's
`.venv`. It gets a virtual environment in the cache folder, made on first use and used again: pfl
and its small dependencies are installed there; torch, numpy and scipy are read where the project
has them, since a second torch is a download of gigabytes. The project's environment is only read.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("pfl_anchor.py")

# pfl 0.6 with what `import pfl.privacy` needs, each within the range that its users ask for. The
# extras `tf`, `mlx` and `trees`, and pfl's need of `wheel`, play no part in a run with torch.
PACKAGES = (
    "pfl==0.6.*",
    "multiprocess>=0.70.15,<0.71",
    "dill>=0.4.1,<0.5",
    "dp-accounting>=0.4,<0.6",
    "prv-accountant>=0.2.0,<0.3.0",
    "absl-py~=1.0",
    "attrs>=22,<24",
    "dm-tree~=0.1.8",
)
SHARED = ("torch", "numpy", "scipy", "packaging", "mpmath")
"""Modules that are read from the project's environment."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""Environment of every command whose CPU seconds are compared."""

# Without the first, pfl asks torch for a GPU at each of its tensor conversions.
ON_CPU = {"PFL_PYTORCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""}
READY = "ready.json"


class AnchorError(RuntimeError):
    """The outside anchor could not be installed or run."""


def measure_anchor(*arguments: str) -> dict[str, Any]:
    """What `pfl_anchor.py` measured, in its own environment, on one thread.

    Raises:
        AnchorError: The environment could not be made, or the script failed.
    """
    command = [str(anchor_python()), "-I", str(SCRIPT), *arguments]
    output = _run(command, "the anchor did not run", {**ONE_THREAD, **ON_CPU})
    result: dict[str, Any] = json.loads(output)
    return result


def anchor_python() -> Path:
    """The interpreter of the anchor's environment, which is made where it is missing.

    Raises:
        AnchorError: This Python is too new for pfl, a shared module is missing, or pip failed.
    """
    if sys.version_info >= (3, 13):
        raise AnchorError(
            f"pfl 0.6 needs Python 3.10 to 3.12 and this is {sys.version.split()[0]}; without it "
            f"the simulator has no outside anchor. Run `make bench` with an older Python."
        )
    shared = _shared_folders()
    named = json.dumps([sys.version, shared, PACKAGES])
    home = _cache() / f"pfl-0.6-{hashlib.sha256(named.encode()).hexdigest()[:12]}"
    if not (home / READY).is_file():
        _make(home, shared)
    return home / "bin" / "python"


def _cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "roundlog" / "bench"


def _shared_folders() -> list[str]:
    folders = []
    for name in SHARED:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise AnchorError(
                f"the anchor reads `{name}` from the project's environment, which has none; "
                f"run `make setup`, then the benchmark with its Python."
            )
        folder = str(Path(spec.origin).parents[1])
        if folder not in folders:
            folders.append(folder)
    return folders


def _make(home: Path, shared: list[str]) -> None:
    print(f"making {home} for the outside anchor", file=sys.stderr, flush=True)
    home.parent.mkdir(parents=True, exist_ok=True)
    # Made aside and renamed: an interrupted build, or a second one, leaves nothing half made.
    # Nothing in it is started through a script whose first line would still name the old place.
    building = Path(tempfile.mkdtemp(prefix="building-", dir=home.parent))
    try:
        venv.create(building, with_pip=True)
        python = building / "bin" / "python"
        command = [str(python), "-I", "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", *PACKAGES]
        _run(command, "pip could not install the outside anchor")
        # Read after the environment's own packages: a `.pth` line goes to the end of the path.
        (packages,) = building.glob("lib/python*/site-packages")
        (packages / "shared_with_the_project.pth").write_text("\n".join(shared) + "\n")
        check = "import pfl.privacy, pfl.model.pytorch"
        _run([str(python), "-I", "-c", check], "pfl was installed but cannot be imported", ON_CPU)
        (building / READY).write_text(json.dumps({"packages": PACKAGES, "shared": shared}))
        if home.exists() and not (home / READY).is_file():
            shutil.rmtree(home)
        try:
            building.rename(home)
        except OSError:
            if not (home / READY).is_file():  # nobody else made it meanwhile
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _run(command: list[str], failure: str, more: Mapping[str, str] | None = None) -> str:
    environment = {**os.environ, **(more or {})}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise AnchorError(
            f"{failure}: `{' '.join(command)}` exited {done.returncode} and said:\n{said}"
        )
    return done.stdout
