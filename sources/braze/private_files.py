"""Folders and files that only the user of the run can read."""

import os
from pathlib import Path


def private_folder(folder: Path) -> Path:
    """Make a folder that only its owner can look into."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def owner_only(path: str, flags: int) -> int:
    """Open a file readable by its owner only: an `opener` for `open`."""
    return os.open(path, flags, 0o600)
