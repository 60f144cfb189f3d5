"""What of a run's records is published: no path of a machine, no host that is not public, no key.

Data is published byte for byte, or not at all (`check_data`). Records are rewritten, and each part that was taken out
is told of, with what stands in its place.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sloop.models.masking import MASK, RUN, masked
from sloop.records import UserError
from sloop.runs.bundle import TakenOut
from sloop.store.files import named, reading

SECRET_NAMES = re.compile(
    r"(?:^|_)(?:(?:API|ACCESS|SECRET|PRIVATE|AUTH)_?KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$", re.IGNORECASE
)
"""Names of variables, and of keys of a configuration, whose values are secrets."""
SECRET_FORMS = re.compile(
    r"\b(?:sk-[\w-]{16,}|hf_\w{20,}|gh[pousr]_\w{20,}|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|xox[abpr]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""What keys of known services, and tokens, look like."""
PRIVATE_HOST = "private-host"
DIFF = ".code.diff"
"""Where a run's record keeps what differs from its commit."""
_ADDRESS = re.compile(r"\b(?:https?|wss?|postgresql|mysql|redis|ray)(?:\+\w+)?://[^\s'\"<>,;)\]}]+", re.IGNORECASE)
_PATH = re.compile(
    r"(?:(?<![^\s'\"=:,;(\[{|`])(?:file://|sqlite:///)?(?:/(?!/)|~/|[A-Za-z]:[\\/])[^\s'\",;()\[\]{}<>|`]*"
    r"[^\s'\",;.()\[\]{}<>|`])"
)
_LOCAL_NAMES = (".local", ".internal", ".lan", ".corp", ".home", ".intranet", ".localdomain")


@dataclass
class Public:
    """Rewrites records as they are published, and remembers what was taken out."""

    run: Path
    """Folder of the run: what lies in it stands under ``run/``."""
    here: Path
    """Folder that relative paths are taken from."""
    host: str = ""
    """Name of the machine."""
    inputs: Mapping[Path, str] = field(default_factory=dict)
    """Files and folders that the bundle holds, with their places there."""
    taken_out: list[TakenOut] = field(default_factory=list)

    def __call__(self, value: Any, where: str) -> Any:
        """Plain data in its public form; ``where``: file and key, for what is told."""
        if isinstance(value, Mapping):
            return {key: self._named(str(key), item, f"{where}.{key}") for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return self.text(value, where) if isinstance(value, str) else value

    def _named(self, key: str, value: Any, where: str) -> Any:
        if isinstance(value, str) and value and SECRET_NAMES.search(key):
            self._tell(where, "secret", MASK)
            return MASK
        return self(value, where)

    def text(self, text: str, where: str) -> str:
        """A text in its public form."""
        before, kinds = text, []
        for what, rewritten in self._steps(where):
            after = rewritten(text)
            kinds += [what] if after != text else []
            text = after
        if text != before:
            self._tell(where, ", ".join(dict.fromkeys(kinds)), text)
        return text

    def _steps(self, where: str) -> Iterator[tuple[str, Callable[[str], str]]]:
        for secret in secrets():
            yield "secret", functools.partial(masked, key=secret)
        yield "secret", functools.partial(SECRET_FORMS.sub, MASK)
        yield "address", functools.partial(_ADDRESS.sub, lambda found: public_address(found[0]))
        for path, place in self._known():
            known = re.compile(rf"(?:file://|sqlite:///)?{re.escape(path)}(?:(/)|(?![\w.-]))")
            yield "path", functools.partial(known.sub, lambda found, to=place: to + (found[1] or ""))
        if not where.endswith(DIFF):  # code names paths that are no machine's, and must still apply
            yield "path", lambda text: _last(text) if _is_path(text) else _PATH.sub(lambda found: _last(found[0]), text)
        if len(self.host) >= RUN:
            whole = re.compile(rf"(?<![\w.-]){re.escape(self.host)}(?![\w-])")
            yield "host", functools.partial(whole.sub, PRIVATE_HOST)

    def _known(self) -> list[tuple[str, str]]:
        """Folders whose content keeps a relative path, longest first."""
        places = {str(path): place for path, place in self.inputs.items()}
        for folder, place in ((self.run, "run"), (self.here, ".")):
            places.setdefault(str(folder), place)
            places.setdefault(str(folder.resolve()), place)
        known = {path: place for path, place in places.items() if path.startswith("/") and len(path) > 1}
        return sorted(known.items(), key=lambda pair: -len(pair[0]))

    def _tell(self, where: str, what: str, stands: str) -> None:
        short = stands if len(stands) <= 200 else f"{stands[:197]}..."
        self.taken_out.append(TakenOut(where=where, what=what, now=short))


def _is_path(text: str) -> bool:
    """A path that is there, blanks in it and all."""
    return text.startswith("/") and "\n" not in text and os.path.lexists(text)


def _last(path: str) -> str:
    """The last part of a path, or nothing but its root."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1] or "folder"


def public_address(address: str) -> str:
    """An address without name, password and query, and without a host that is not the internet's."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return PRIVATE_HOST
    shown = host if is_public(host) else PRIVATE_HOST
    return f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path}"


def is_public(host: str) -> bool:
    """Whether a host is known beyond its own network; loopback says nothing of anybody and counts as well."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or ("." in host and not host.endswith(_LOCAL_NAMES))
    return address.is_loopback or address.is_global


def secrets() -> list[str]:
    """The values of this process's variables that are named as secrets are; short ones stand in ordinary words."""
    return sorted({value for name, value in os.environ.items() if SECRET_NAMES.search(name) and len(value) >= RUN})


def check_data(path: Path) -> None:
    """Pass a file that is published as it is.

    Raises:
        UserError: it holds the value of a variable that is named as secrets are.
    """
    known = [secret.encode() for secret in secrets()]
    longest = max(map(len, known), default=0)
    rest = b""
    with reading(path) as file:
        while known and (block := file.read(1 << 20)):
            block = rest + block
            if any(secret in block for secret in known):
                raise UserError(
                    f"{named(path)} holds the value of a variable of this process that is a key or a password, and is "
                    "not published. Take it out where it came from and make the run anew."
                )
            rest = block[-longest:]
