"""The recipes: shell that a shell can read, calling commands that there are."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sloop.cli import COMMANDS, STAGES

SCRIPTS = sorted((Path(__file__).parents[1] / "scripts").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_readable_shell(script: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("the scripts are for bash: install it")
    done = subprocess.run([bash, "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_stops_at_the_first_failure(script: Path) -> None:
    assert re.search(r"^set -e", script.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_calls_commands_that_there_are(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    called = re.findall(r"(?:\bsloop|\$\{SLOOP:-sloop\}|\$SLOOP)\"?[ \t]+([a-z]+)\b(?!=)", code)
    assert called or any(f'/{other.name}"' in code for other in SCRIPTS)
    assert set(called) <= {*STAGES, *COMMANDS}
