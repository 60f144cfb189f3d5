"""The wheel carries all that a run needs: configuration, benchmark data, packaged tools."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
from running import CONF

ROOT = Path(__file__).parents[1]


def missing() -> list[str]:
    """What a build without the network lacks here."""
    lacking = [name for name in ("build", "setuptools") if find_spec(name) is None]
    old = "setuptools" not in lacking and int(version("setuptools").partition(".")[0]) < 77
    return [*lacking, *(["setuptools>=77"] if old else [])]


pytestmark = pytest.mark.skipif(bool(missing()), reason=f"building a wheel without the network needs {missing()}")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's files, alone in a folder; built from a copy, so that the checkout stays as it is."""
    import shutil

    root = tmp_path_factory.mktemp("wheel")
    source = root / "source"
    source.mkdir()
    for name in ("sloop", "conf", "benchmarks"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(root / "dist"), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = (root / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(root / "unpacked")
    return root / "unpacked"


def run(unpacked: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``sloop`` from the wheel, in an empty folder; what an editable install adds to the path is taken off it."""
    program = (
        "import sys\n"
        f"sys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'Editable' not in repr(f)]\n"
        "import sloop\n"
        f"assert sloop.__file__.startswith({str(unpacked)!r}), sloop.__file__\n"
        "from sloop.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(unpacked), str(CONF.parent))),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_it_generates(unpacked: Path, tmp_path: Path) -> None:
    done = run(unpacked, tmp_path, "gen", "preview=2")
    assert done.returncode == 0, done.stderr
    assert "2. " in done.stdout
    assert not list(tmp_path.iterdir())


def test_it_carries_the_configuration(unpacked: Path, tmp_path: Path) -> None:
    done = run(unpacked, tmp_path, "loop", "--cfg", "job", "experiment=demo")
    assert done.returncode == 0, done.stderr
    assert "name: demo" in done.stdout


@pytest.mark.parametrize(
    ("source", "place", "kinds"),
    [
        ("conf", "conf", {".yaml"}),
        ("benchmarks/data", "benchmark_data", {".gz", ".md"}),
        ("sloop/prompts", "prompts", {".jinja"}),
    ],
)
def test_it_carries_every_file_that_is_no_module(unpacked: Path, source: str, place: str, kinds: set[str]) -> None:
    wanted = {str(p.relative_to(ROOT / source)) for p in (ROOT / source).rglob("*") if p.suffix in kinds}
    folder = unpacked / "sloop" / place
    carried = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert wanted
    assert wanted <= carried


def test_it_carries_every_module(unpacked: Path) -> None:
    wanted = {str(path.relative_to(ROOT)) for path in (ROOT / "sloop").rglob("*.py")}
    assert wanted <= {str(path.relative_to(unpacked)) for path in unpacked.rglob("*.py")}
    assert (unpacked / "sloop" / "py.typed").is_file()


def test_it_opens_the_packaged_benchmark(unpacked: Path, tmp_path: Path) -> None:
    done = run(unpacked, tmp_path, "eval", "--config-dir", str(CONF), "student=acme", "tracking.enabled=false")
    assert done.returncode == 2
    assert "student.path is missing" in done.stderr


def test_it_carries_no_tests(unpacked: Path) -> None:
    assert not list(unpacked.rglob("test_*.py"))
