"""The documented answers of the profile exports: what starts a job, how it is delivered, what a profile becomes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sources.braze import endpoints, flatten
from sources.braze.audience import Audience
from sources.braze.client import Client
from sources.braze.export_fields import REQUESTABLE, ExportFields
from sources.braze.export_ids import export_ids
from sources.braze.export_jobs import find_job
from sources.braze.export_waiting import ExportSettings
from sources.braze.exports import Exports, cancel_export
from sources.braze.known import LoadedExports
from sources.braze.model import Type
from sources.braze.profile_tables import GLOBAL_CONTROL_GROUP
from sources.braze.profiles import ProfileShredder
from tests import wire

SEGMENT = "b5cd0945-82c6-5266-a4e7-e0e5d39d5517"
pytestmark = pytest.mark.usefixtures("no_network")


def test_profiles_by_id(tmp_path: Path) -> None:
    fields = ExportFields(("braze_id", *sorted(REQUESTABLE - {"braze_id", "created_from"})))

    async def read(client: Client) -> list[Any]:
        asked = (["kunde-1", "kunde-2", "wer?"], ["niemand"])
        return [
            file
            for number, ids in enumerate(asked)
            async for file in export_ids(client, ids, fields, tmp_path / str(number))
        ]

    files = wire.with_client(wire.cassette("users.export.ids"), read)
    assert [file.unknown for file in files] == [((3, "wer?"),), ((1, "niemand"),)]
    found: flatten.Rows = {}
    with ProfileShredder(tmp_path / "work", fields=fields.loaded(endpoints.USERS_EXPORT_IDS)) as shredder:
        for group in shredder.groups(file.path for file in files):
            for table, rows in group.tables:
                json_columns = {column.name for column in table.columns if column.type is Type.JSON}
                alive = [row for row in rows.to_pylist() if not row.get("_deleted")]
                found.setdefault(table.name, []).extend(
                    {
                        name: json.loads(value) if name in json_columns else value
                        for name, value in row.items()
                        if value is not None
                    }
                    for row in alive
                )
    found = {table: wire.by_key(table, rows) for table, rows in found.items() if rows}
    assert wire.exact(found) == wire.exact(wire.expected("users.export.ids"))


async def _requested(client: Client, jobs: Path, audience: Audience) -> Any:
    """The job that an export's answer starts; what comes after the answer is not waited for."""
    fields = ExportFields(
        ("braze_id", "external_id", "created_at", "uninstalled_at", "push_subscribe", "email_subscribe")
    )
    exports = Exports(client, jobs, fields, ExportSettings(timeout_minutes=0), into=LoadedExports())
    async for _ in exports.events([audience]):
        pass
    return find_job(jobs, audience)


@pytest.mark.parametrize(
    ("name", "segment", "url", "stamp"),
    [
        ("users.export.segment", SEGMENT, "https://exports.s3.example.com/Zf3nWq0bYk.zip", "1789295405"),
        (
            "users.export.global_control_group",
            GLOBAL_CONTROL_GROUP,
            "https://exports.s3.example.com/9hTTs2.zip",
            "1789295407",
        ),
    ],
)
def test_an_export_behind_a_url(tmp_path: Path, name: str, segment: str, url: str, stamp: str) -> None:
    cassette = tmp_path / "archive.yaml"
    content = wire.read_yaml(wire.cassette(name))
    not_ready = {"status": {"code": 403, "message": "Forbidden"}, "headers": {}, "body": {"string": "AccessDenied"}}
    content["interactions"].append(
        {"request": {"method": "GET", "uri": url, "body": None, "headers": {}}, "response": not_ready}
    )
    cassette.write_text(json.dumps(content))
    job = wire.with_client(cassette, lambda client: _requested(client, tmp_path / "jobs", Audience(segment)))
    assert job.url == url
    assert job.object_prefix.endswith(stamp)


@pytest.mark.parametrize("segment", [SEGMENT, "5e1c89e4-5024-54dd-b901-7baf7f81b199"], ids=["null", "absent"])
def test_an_export_into_a_bucket(tmp_path: Path, segment: str) -> None:
    async def request(client: Client) -> Any:
        answer = await client.post(endpoints.USERS_EXPORT_SEGMENT, question.fields)
        return answer.get("url"), answer["object_prefix"]

    questions = wire.questions(wire.cassette("users.export.segment.bucket"))
    question = next(question for question in questions if question.fields["segment_id"] == segment)
    with wire.replaying(wire.cassette("users.export.segment.bucket")):
        url, prefix = asyncio.run(request(Client(wire.HOST, wire.KEY)))
    assert url is None
    assert prefix.rpartition("-")[2].isdecimal()


def test_cancelling_an_export(tmp_path: Path) -> None:
    async def cancel(client: Client) -> None:
        await cancel_export(client, tmp_path, SEGMENT)

    wire.with_client(wire.cassette("export.segment.cancel"), cancel)
