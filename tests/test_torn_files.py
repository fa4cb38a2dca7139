"""A folder as destination, where files are written in place: a killed run or a full disk left them cut off."""

import re
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from pipelines.errors import RunFailed
from sources.braze_sandbox import Sandbox
from tests.children import Child, command_killed_at
from tests.commands import braze_elt, sentence
from tests.lakes import Lake, lake
from tests.workspaces import NOW, TODAY, configure, differences, doubled, sync, workspace

LONG_AGO = TODAY - timedelta(days=250)
"""So long that a second night, which reads a hundred days again, does not make up for what was lost."""


@pytest.fixture
def sandbox(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(workplace / "lake"))
    with workspace(campaigns=0, canvases=0, days=250) as sandbox:
        configure(monkeypatch, sandbox, start_date=LONG_AGO)
        yield sandbox


def night(number: int) -> int:
    return sync("filesystem", "kpis", now=NOW + timedelta(minutes=number))


def right(warehouse: Lake, sandbox: Sandbox) -> bool:
    stated = {"kpi_daily": sandbox.totals(LONG_AGO, TODAY)["kpi_daily"]}
    return differences(warehouse, stated) == {} and doubled(warehouse) == []


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "lost"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_rows_whose_load_was_about_to_be_noted_are_current(
    share: float, lost: bool, sandbox: Sandbox, workplace: Path
) -> None:
    assert night(1) == 0
    note = min((workplace / "lake/braze/_dlt_loads").glob("*__*.jsonl"))
    note.write_bytes(note.read_bytes()[: int(share * note.stat().st_size)])
    if lost:
        shutil.rmtree(workplace / "dlt")
    assert night(2) == 0
    assert right(lake(workplace / "lake"), sandbox)


@pytest.mark.parametrize("table", ["_dlt_pipeline_state", "_dlt_version"])
def test_what_was_begun_of_a_later_state_or_schema_is_left_out(table: str, sandbox: Sandbox, workplace: Path) -> None:
    assert night(1) == 0
    newest = max((workplace / "lake/braze" / table).glob("*__*.jsonl"))
    begun = newest.with_name(re.sub(r"__\d+(?=\.)", "__9999999999", newest.name))
    begun.write_bytes(newest.read_bytes()[:40])
    assert night(2) == 0
    assert not begun.exists()
    assert right(lake(workplace / "lake"), sandbox)


def test_what_was_begun_of_rows_is_left_out(sandbox: Sandbox, workplace: Path) -> None:
    assert night(1) == 0
    (rows,) = (workplace / "lake/braze/kpi_daily").glob("*.parquet")
    begun = rows.with_name(re.sub(r"^\d+", "9999999999", rows.name))
    begun.write_bytes(rows.read_bytes()[:1000])
    assert night(2) == 0
    assert not begun.exists()
    assert right(lake(workplace / "lake"), sandbox)


def test_what_was_begun_of_a_later_snapshot_is_left_out(
    sandbox: Sandbox, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", "iceberg")
    assert night(1) == 0
    begun = workplace / "lake/braze/kpi_daily/metadata/99999-begun.metadata.json"
    begun.touch()
    assert night(2) == 0
    assert not begun.exists()
    assert right(lake(workplace / "lake"), sandbox)


def test_rows_that_no_list_of_delta_names_yet_are_no_table(
    sandbox: Sandbox, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delta writes rows first: a run that was killed then must not look like one that loaded Parquet."""
    monkeypatch.setenv("DESTINATION__FILESYSTEM__TABLE_FORMAT", "delta")
    first = ("dlt.common.libs.deltalake", "write_delta_table")
    child = Child(command_killed_at, *first, "sync", "--select", "kpis", "--destination", "filesystem")
    assert child.wait() == -signal.SIGKILL, child.log.read_text()
    begun = workplace / "lake/braze/kpi_daily/part-00000-1a634229-1203-4f31-bae7-a6f33d58a573-c000.snappy.parquet"
    begun.write_bytes(b"PAR1 and a part of the rows")
    assert "Nothing has been loaded here yet" in sentence(braze_elt("status", "--destination", "filesystem"))
    assert night(1) == 0
    assert right(lake(workplace / "lake"), sandbox)


def test_a_folder_that_takes_no_file_of_views_is_a_sentence(sandbox: Sandbox, workplace: Path) -> None:
    assert night(1) == 0
    views = workplace / "lake/braze/views.sql"
    views.unlink()
    views.mkdir()
    with pytest.raises(RunFailed, match=r"Is a directory: '.*views\.sql'"):
        night(2)
    views.rmdir()
    assert night(3) == 0
    assert right(lake(workplace / "lake"), sandbox)
