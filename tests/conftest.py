"""A stranger's package beside sloop's, as a user's own would be: importable here and in the processes started here."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PLUGIN = Path(__file__).parent / "plugin"
sys.path.insert(0, str(PLUGIN))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(PLUGIN), os.environ.get("PYTHONPATH"))))
