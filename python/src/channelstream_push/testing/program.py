"""The program `channelstream-server`: where tests find it."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path
from typing import Final

from channelstream_push.errors import PushError

#: The variable that names the program.
VARIABLE: Final = "CHANNELSTREAM_SERVER"

_NAME: Final = "channelstream-server"


class ServerNotFoundError(PushError, LookupError):
    """There is no program `channelstream-server`."""


def find_program(path: str | os.PathLike[str] | None = None) -> Path:
    """Return the program: the one that is named, or the one that can be found.

    The variable `CHANNELSTREAM_SERVER` names one. Otherwise it is that of this Python environment,
    where the wheel has put it, or the first one on `PATH`.

    Raises:
        ServerNotFoundError: it is not there. The text says how to get one.
    """
    named = path or os.environ.get(VARIABLE)
    if named:
        program = Path(named)
        if program.is_file() and os.access(program, os.X_OK):
            return program
        source = "the setting" if path else VARIABLE
        raise ServerNotFoundError(f"{source} names {program}, which is no program")
    found = shutil.which(_NAME, path=sysconfig.get_path("scripts")) or shutil.which(_NAME)
    if found:
        return Path(found)
    raise ServerNotFoundError(
        f"{_NAME} is neither in this Python environment nor on PATH: "
        f"`pip install {_NAME}` puts it there, or {VARIABLE} names the program"
    )
