"""The worked example of the page on adding an endpoint: its changes apply to the code as it is, and load the table."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.repository import REPOSITORY

PAGE = REPOSITORY / "docs" / "howto" / "add-an-endpoint.md"
ATTRIBUTES = 70
"""More than a page of the list."""


def test_the_four_changes_of_the_page_load_the_new_table(tmp_path: Path) -> None:
    for package in ("sources", "pipelines", "destinations"):
        shutil.copytree(REPOSITORY / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    changes = re.findall(r"^```diff\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(changes) == 4
    for change in changes:
        patched = subprocess.run(
            ["git", "apply", "-"],
            cwd=tmp_path,
            env={**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)},
            input=change,
            text=True,
            capture_output=True,
            check=False,
        )
        assert patched.returncode == 0, f"the page's change no longer fits the code:\n{patched.stderr}\n{change}"

    with Sandbox(WorkspaceOptions(campaigns=1, custom_attributes=ATTRIBUTES)) as sandbox:
        environment = {
            **{
                name: value for name, value in os.environ.items() if not name.startswith(("DESTINATION__", "SOURCES__"))
            },
            "SOURCES__BRAZE__API_KEY": "any",
            "SOURCES__BRAZE__ENDPOINT": sandbox.url,
            "DLT_DATA_DIR": str(tmp_path / "dlt"),
            "PYTHONPATH": str(tmp_path),
        }
        command = [sys.executable, "-m", "pipelines", "sync", "--select", "custom_attributes"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with duckdb.connect(str(tmp_path / "warehouse.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            "SELECT name, data_type, synced_at FROM braze.custom_attributes ORDER BY name"
        ).fetchall()
        comment = connection.execute(
            "SELECT comment FROM duckdb_tables() WHERE table_name = 'custom_attributes' AND schema_name = 'braze'"
        ).fetchone()
    assert len({name for name, _, _ in rows}) == len(rows) == ATTRIBUTES
    assert all(kind and seen for _, kind, seen in rows)
    assert comment == ("Custom attributes that profiles of the workspace have.",)
