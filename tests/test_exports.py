"""Exports: requested, waited for, fetched, resumed; whatever way Braze delivers them."""

import asyncio
import functools
import io
import json
import logging
import os
import re
import stat
import zipfile
from itertools import count

import pyarrow as pa
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sources.braze import exports as exports_module
from sources.braze.audience import Audience
from sources.braze.client import Client
from sources.braze.errors import BrazeError, ConfigurationError, UnknownEntity
from sources.braze.export_fields import export_fields
from sources.braze.export_files import open_bucket
from sources.braze.export_ids import export_ids
from sources.braze.export_jobs import find_job
from sources.braze.export_waiting import ExportSettings, ExportTimeoutError
from sources.braze.exports import AllArrived, Arrived, Exports, Failed, cancel_export
from sources.braze.known import LoadedExport, LoadedExports
from sources.braze.profile_tables import GLOBAL_CONTROL_GROUP, GLOBAL_CONTROL_GROUP_MEMBERS
from sources.braze.profiles import ProfileShredder

SEGMENT = Audience("seg-1")
PREFIX = "11111111-2222-3333-4444-555555555555-1788220800"
FAST = {"first_poll": 0.01, "longest_poll": 0.02}


def in_a_loop(test):
    """Run an async test."""

    @functools.wraps(test)
    def run_it(**fixtures):
        asyncio.run(test(**fixtures))

    return run_it


def profile_lines(first, last):
    return "".join(json.dumps({"braze_id": f"b{i}", "email": f"p{i}@x.example"}) + "\n" for i in range(first, last))


def archive(*parts):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as opened:
        for number, part in enumerate(parts):
            opened.writestr(f"{number}.txt", part)
    return written.getvalue()


class Braze:
    """Braze's export endpoints and its storage on loopback: what to answer next is data."""

    def __init__(self, content=b"", url=True, strange=None):
        self.content = content
        self.url = url
        self.strange = strange or {}  # what the answer to a request says instead
        self.refusals = []  # statuses before the archive is there
        self.cut_after = None
        self.ranges = True
        self.part = None  # how many bytes of a range are given at a time
        self.names_unknown = True
        self.running = 0  # how many requests find an export running
        self.requested = []
        self.downloads = []
        self.cancelled = []

    async def start(self, request):
        self.requested.append((request.path, await request.json()))
        if self.running:
            self.running -= 1
            limits = {
                "X-RateLimit-Limit": "250000",
                "X-RateLimit-Remaining": "249000",
                "X-RateLimit-Reset": "1",
            }
            return web.json_response({"message": "Export already running"}, status=429, headers=limits)
        url = f"{self.address}/storage/{len(self.requested)}.zip?signature=s3cret" if self.url else None
        answer = {"message": "success", "object_prefix": PREFIX, "url": url}
        return web.json_response(answer | self.strange, status=201)

    async def storage(self, request):
        self.downloads.append(request)
        if self.refusals:
            return web.Response(status=self.refusals.pop(0))
        start = 0
        headers = {"ETag": '"v1"'}
        if self.ranges and "Range" in request.headers:
            start = int(re.fullmatch(r"bytes=(\d+)-", request.headers["Range"])[1])
            end = min(start + self.part, len(self.content)) if self.part else len(self.content)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(self.content)}"
        rest = self.content[start : end if start else None]
        answer = web.StreamResponse(status=206 if start else 200, headers=headers)
        answer.content_length = len(rest)
        await answer.prepare(request)
        if self.cut_after:
            await answer.write(rest[: self.cut_after])
            self.cut_after = None
            request.transport.close()
            return answer
        await answer.write(rest)
        return answer

    async def cancel(self, request):
        self.cancelled.append(await request.json())
        return web.json_response({"message": "success"})

    async def ids(self, request):
        asked = await request.json()
        self.requested.append((request.path, asked))
        known = [i for i in asked["external_ids"] if not i.startswith("no")]
        users = [{"braze_id": f"b-{i}", "external_id": i} for i in known]
        missing = [i for i in asked["external_ids"] if i.startswith("no")]
        named = {"invalid_user_ids": missing} if self.names_unknown else {}
        return web.json_response({"message": "success", "users": users} | named, status=201)

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/users/export/segment", self.start)
        app.router.add_post("/users/export/global_control_group", self.start)
        app.router.add_post("/users/export/ids", self.ids)
        app.router.add_post("/export/segment/cancel", self.cancel)
        app.router.add_get("/storage/{name}", self.storage)
        self._server = TestServer(app, host="127.0.0.1")
        await self._server.start_server()
        self.address = str(self._server.make_url("")).rstrip("/")
        self.client = Client(self.address, "key-1", backoff=0.01)
        return self

    async def __aexit__(self, *_):
        await self.client.aclose()
        await self._server.close()

    def exports(self, folder, clock=None, fields=("email",), **settings):
        known = {"clock": clock} if clock else {}
        jobs, fields = folder / "jobs", export_fields(fields)
        return Exports(self.client, jobs, fields, ExportSettings(**(FAST | settings)), all_loaded(jobs), **known)


def all_loaded(jobs):
    """What a warehouse has into which everything was loaded that the jobs say is."""
    states = [json.loads(found.read_bytes()) | {"name": found.parent.name} for found in jobs.glob("*/job.json")]
    return LoadedExports(
        "warehouse", {state["name"]: LoadedExport(state["id"], len(state["members"])) for state in states}
    )


def load(job, paths, warehouse):
    with ProfileShredder(job.work_folder, fields=job.fields) as shredder:
        for group in shredder.groups(paths, job.loaded_parts()):
            for table, rows in group.tables:
                warehouse.setdefault(table.name, []).extend(rows.to_pylist())
            noted = job.shredded(group.members, damaged=bool(group.corrupt))
            job.loaded(noted, parts=group.parts, files=group.finished)


def load_members(job, warehouse):
    table, batches = job.members()
    if table.parent:
        warehouse[table.name] = []
    for rows in batches:
        warehouse.setdefault(table.name, []).extend(rows.to_pylist())
    job.finish()
    return table


async def run(exports, audiences=(SEGMENT,), warehouse=None):
    warehouse = {} if warehouse is None else warehouse
    failed = []
    async for event in exports.events(audiences):
        match event:
            case Arrived(job, path):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600
                load(job, [path], warehouse)
            case AllArrived(job):
                load_members(job, warehouse)
            case Failed():
                failed.append(event)
    return warehouse, failed


def ids(rows):
    return sorted(row["braze_id"] for row in rows)


def left_behind(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@in_a_loop
async def test_an_archive_is_waited_for_fetched_loaded_and_forgotten(tmp_path):
    async with Braze(archive(profile_lines(0, 1500), profile_lines(1500, 2300))) as braze:
        braze.refusals = [403, 404, 503, 403]
        warehouse, failed = await run(braze.exports(tmp_path))
    assert not failed
    assert len(warehouse["users"]) == 2300
    assert ids(warehouse["segment_members"]) == ids(warehouse["users"])
    ((_, body),) = braze.requested
    assert body == {"segment_id": "seg-1", "fields_to_export": ["braze_id", "email"]}
    assert not any("Authorization" in request.headers for request in braze.downloads)
    assert not left_behind(tmp_path)


@pytest.mark.parametrize("ranges", [True, False])
@in_a_loop
async def test_a_cut_download_goes_on_behind_the_cut(tmp_path, ranges):
    async with Braze(archive(os.urandom(200_000).hex(), profile_lines(0, 50))) as braze:
        braze.cut_after, braze.ranges = 150_000, ranges
        warehouse, failed = await run(braze.exports(tmp_path))
    assert not failed
    assert len(warehouse["users"]) == 50
    sent = [request.headers.get("Range") for request in braze.downloads]
    assert sent[0] is None
    assert re.fullmatch(r"bytes=\d{3,}-", sent[1])


@in_a_loop
async def test_a_storage_that_gives_less_than_the_range_is_asked_for_the_rest(tmp_path):
    async with Braze(archive(os.urandom(200_000).hex(), profile_lines(0, 50))) as braze:
        braze.cut_after, braze.part = 150_000, 20_000
        warehouse, failed = await run(braze.exports(tmp_path))
    assert not failed
    assert len(warehouse["users"]) == 50
    assert len(braze.downloads) > 3


class EmptyAtFirst(Braze):
    """Storage that gives an empty file before the archive."""

    async def storage(self, request):
        if self.downloads:
            return await super().storage(request)
        self.downloads.append(request)
        return web.Response(body=b"", headers={"ETag": '"v0"'})


@in_a_loop
async def test_an_empty_file_is_no_archive(tmp_path):
    async with EmptyAtFirst(archive(profile_lines(0, 3))) as braze:
        warehouse, failed = await run(braze.exports(tmp_path))
    assert not failed
    assert len(warehouse["users"]) == 3
    assert len(braze.downloads) == 2


@in_a_loop
async def test_a_killed_run_goes_on_with_the_same_export(tmp_path):
    async with Braze(archive(profile_lines(0, 30))) as braze:
        braze.refusals = [403] * 1000
        waiting = asyncio.create_task(run(braze.exports(tmp_path)))
        while len(braze.downloads) < 3:
            await asyncio.sleep(0.005)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert stat.S_IMODE((tmp_path / "jobs/seg-1/job.json").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "jobs/seg-1").stat().st_mode) == 0o700
        braze.refusals = []
        warehouse, _ = await run(braze.exports(tmp_path))
    assert len(warehouse["users"]) == 30
    assert len(braze.requested) == 1


@in_a_loop
async def test_killed_while_loading_nothing_is_lost_and_loaded_members_are_not_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr("sources.braze.profiles.GROUP_PROFILES", 10)
    async with Braze(archive(*(profile_lines(i * 10, i * 10 + 10) for i in range(4)))) as braze:
        async for event in braze.exports(tmp_path).events([SEGMENT]):
            if isinstance(event, Arrived):
                first = []
                with ProfileShredder(event.job.work_folder) as shredder:
                    for group, _ in zip(shredder.groups([event.path]), range(2), strict=False):
                        first += group.members.to_pylist()
                        event.job.loaded(event.job.shredded(group.members), parts=group.parts, files=group.finished)
                event.job.shredded(pa.array(["as rules of that day left it"]))
                break
        second, _ = await run(braze.exports(tmp_path))
    assert len(braze.requested) == len(braze.downloads) == 1
    assert ids(second["segment_members"]) == sorted(f"b{i}" for i in range(40))
    assert {*first, *ids(second["users"])} == {f"b{i}" for i in range(40)}
    assert len(second["users"]) == 30
    assert not left_behind(tmp_path)


@in_a_loop
async def test_403_after_the_urls_lifetime_means_a_new_export(tmp_path):
    seconds = count(0, 3600)
    async with Braze(archive(profile_lines(0, 5))) as braze:
        braze.refusals = [403] * 5
        warehouse, _ = await run(braze.exports(tmp_path, clock=lambda: 1e9 + next(seconds), timeout_minutes=6000))
    assert len(warehouse["users"]) == 5
    assert len(braze.requested) == 2
    assert {request.path for request in braze.downloads} == {"/storage/1.zip", "/storage/2.zip"}


@in_a_loop
async def test_an_export_that_never_comes_is_a_failure_and_is_resumed(tmp_path):
    seconds = count(0, 60)
    async with Braze(archive(profile_lines(0, 5))) as braze:
        braze.refusals = [403] * 1000
        exports = braze.exports(tmp_path, clock=lambda: 1e9 + next(seconds), timeout_minutes=10)
        _, (failed,) = await run(exports)
        assert isinstance(failed.error, ExportTimeoutError)
        assert "export_timeout_minutes" in str(failed.error)
        assert "s3cret" not in str(failed.error)
        braze.refusals = []
        warehouse, _ = await run(braze.exports(tmp_path, clock=lambda: 1e9 + next(seconds)))
    assert len(warehouse["users"]) == 5
    assert len(braze.requested) == 1


@in_a_loop
async def test_while_an_export_is_waited_for_the_log_says_so_every_minute(tmp_path, caplog):
    caplog.set_level(logging.INFO, "sources.braze")
    seconds = count(0, 20)
    async with Braze(archive(profile_lines(0, 5))) as braze:
        braze.refusals = [403] * 12
        await run(braze.exports(tmp_path, clock=lambda: 1e9 + next(seconds), timeout_minutes=4))
        requested, *waiting = caplog.messages
        caplog.clear()
        await run(braze.exports(tmp_path, clock=lambda: 1e9 + next(seconds)))
        resumed, *_ = caplog.messages
    assert requested == "The export of seg-1 is requested: waiting for its files."
    assert 3 <= len(waiting) <= 5
    assert re.fullmatch("Waiting for the export of seg-1 for [1-4] minutes.", waiting[0])
    assert re.fullmatch(r"Going on with the export of seg-1, requested \d+ minutes ago.", resumed)


@pytest.mark.parametrize(
    "strange",
    [{"url": "s3://bucket/export.zip"}, {"url": {}, "object_prefix": None}, {"url": None, "object_prefix": 7}],
)
@in_a_loop
async def test_an_answer_that_does_not_say_where_the_files_will_be_is_not_waited_for(tmp_path, strange):
    async with Braze(strange=strange) as braze:
        _, (failure,) = await run(braze.exports(tmp_path))
    assert "neither a url to fetch from nor an object_prefix" in str(failure.error)
    assert not list((tmp_path / "jobs").rglob("job.json"))


@in_a_loop
async def test_an_export_of_somebody_else_is_waited_for(tmp_path, caplog):
    async with Braze(archive(profile_lines(0, 5))) as braze:
        braze.running = 3
        warehouse, failed = await run(braze.exports(tmp_path))
    assert not failed
    assert len(warehouse["users"]) == 5
    assert len([record for record in caplog.records if "--cancel --segment seg-1" in record.message]) == 1


@in_a_loop
async def test_cancel(tmp_path):
    async with Braze() as braze:
        braze.refusals = [403] * 1000
        exports = braze.exports(tmp_path, timeout_minutes=0)
        await run(exports)
        assert find_job(tmp_path / "jobs", SEGMENT)
        await cancel_export(braze.client, tmp_path / "jobs", "seg-1")
        assert braze.cancelled == [{"segment_id": "seg-1"}]
        assert not find_job(tmp_path / "jobs", SEGMENT)


class Cancelling(Braze):
    """Answers a cancellation with a `status` and these bytes; archives never come."""

    def __init__(self, status, body=b""):
        super().__init__()
        self.refusals = [403] * 1000
        self.answer = {"status": status, "body": body}

    async def cancel(self, request):
        await super().cancel(request)
        return web.Response(**self.answer)


@pytest.mark.parametrize(
    ("status", "body"), [(200, b""), (200, b"OK"), (202, b"[]"), (204, b"")], ids=["empty", "text", "list", "204"]
)
@in_a_loop
async def test_any_answer_that_is_no_refusal_is_a_cancellation(tmp_path, status, body):
    async with Cancelling(status, body) as braze:
        await run(braze.exports(tmp_path, timeout_minutes=0))
        await cancel_export(braze.client, tmp_path / "jobs", "seg-1")
    assert braze.cancelled == [{"segment_id": "seg-1"}]
    assert not find_job(tmp_path / "jobs", SEGMENT)


@in_a_loop
async def test_what_braze_does_not_know_to_run_is_not_waited_for(tmp_path):
    async with Cancelling(400, b'{"message": "no export is running"}') as braze:
        await run(braze.exports(tmp_path, timeout_minutes=0))
        with pytest.raises(BrazeError, match=r"no export is running.* requested from here is forgotten"):
            await cancel_export(braze.client, tmp_path / "jobs", "seg-1")
        assert not find_job(tmp_path / "jobs", SEGMENT)
        with pytest.raises(UnknownEntity, match=r"no export is running\)\.$"):
            await cancel_export(braze.client, tmp_path / "jobs", "seg-1")


@pytest.mark.parametrize("status", [403, 404, 500])
@in_a_loop
async def test_an_export_that_could_not_be_cancelled_is_gone_on_with(tmp_path, status):
    async with Cancelling(status) as braze:
        await run(braze.exports(tmp_path, timeout_minutes=0))
        with pytest.raises(BrazeError):
            await cancel_export(braze.client, tmp_path / "jobs", "seg-1")
    assert find_job(tmp_path / "jobs", SEGMENT)


@in_a_loop
async def test_a_workspace_that_does_not_know_a_segment_says_nothing_of_another(tmp_path):
    async with Cancelling(200) as one, Cancelling(400) as other:
        await run(one.exports(tmp_path, timeout_minutes=0))
        with pytest.raises(UnknownEntity):
            await cancel_export(other.client, tmp_path / "jobs", "seg-1")
    assert find_job(tmp_path / "jobs", SEGMENT)


@in_a_loop
async def test_other_fields_than_those_of_the_job_on_disk_mean_a_new_export(tmp_path):
    async with Braze(archive(profile_lines(0, 5))) as braze:
        braze.refusals = [403]
        await run(braze.exports(tmp_path, timeout_minutes=0))
        await run(braze.exports(tmp_path, fields=["country"]))
    assert [body["fields_to_export"][-1] for _, body in braze.requested] == ["email", "country"]


@in_a_loop
async def test_segments_side_by_side_and_the_global_control_group(tmp_path):
    control, segments = Audience(GLOBAL_CONTROL_GROUP), [Audience(f"s{i}") for i in range(6)]
    async with Braze(archive(profile_lines(0, 5))) as braze:
        warehouse, failed = await run(braze.exports(tmp_path, parallel=2), [control, *segments])
    assert not failed
    assert sorted(body.get("segment_id", "") for _, body in braze.requested) == [
        "",
        *(f"s{i}" for i in range(6)),
    ]
    (row, *_) = warehouse[GLOBAL_CONTROL_GROUP_MEMBERS.name]
    assert row["segment_id"] == GLOBAL_CONTROL_GROUP


@in_a_loop
async def test_one_segment_that_fails_costs_that_segment(tmp_path, monkeypatch):
    start = Braze.start

    async def refuse_bad(braze, request):
        if (await request.json()).get("segment_id") == "bad":
            return web.json_response({"message": "segment_id is not valid"}, status=400)
        return await start(braze, request)

    monkeypatch.setattr(Braze, "start", refuse_bad)
    async with Braze(archive(profile_lines(0, 5))) as braze:
        warehouse, (failed,) = await run(braze.exports(tmp_path), [Audience("bad"), SEGMENT])
    assert failed.audience == Audience("bad")
    assert len(warehouse["users"]) == 5


@in_a_loop
async def test_a_damaged_archive_adds_members_and_removes_none(tmp_path):
    content = bytearray(archive(profile_lines(0, 5), profile_lines(5, 10)))
    content[50] ^= 0xFF
    async with Braze(bytes(content)) as braze:
        async for event in braze.exports(tmp_path).events([SEGMENT]):
            if isinstance(event, Arrived):
                load(event.job, [event.path], {})
            else:
                assert event.job.members()[0].parent is None
                event.job.finish()
    assert not left_behind(tmp_path)


def key(name, date="2026-09-01", prefix=PREFIX):
    return f"some/folder/segment-export/seg-1/{date}/{prefix}/{name}"


@in_a_loop
async def test_a_bucket_gives_files_slowly_under_any_date_and_late_ones_on_the_next_run(tmp_path, s3):
    def put(name, first, last, **place):
        s3.put_object(Bucket="exports", Key=key(name, **place), Body=archive(profile_lines(first, last)))

    async with Braze(url=False) as braze:
        put("other export", 900, 950, prefix="another-1788220800")
        settings = {"bucket": "s3://exports/some/folder", "quiet_seconds": 2}
        warehouse = {}
        running = asyncio.create_task(run(braze.exports(tmp_path, **settings), warehouse=warehouse))
        for number in range(3):
            while len(warehouse.get("users", [])) < number * 100:
                await asyncio.sleep(0.01)
            date = "2026-09-01" if number < 2 else "2026-09-02"
            await asyncio.to_thread(put, f"{number}.zip", number * 100, number * 100 + 100, date=date)
        await running
        assert ids(warehouse["segment_members"]) == sorted(f"b{i}" for i in range(300))
        assert [path.name for path in left_behind(tmp_path)] == ["job.json"]
        assert "@x.example" not in (tmp_path / "jobs/seg-1/job.json").read_text()

        put("late.gz", 300, 310)
        braze.url, braze.content = True, archive(profile_lines(0, 7))
        late = {}
        await run(braze.exports(tmp_path, **settings), warehouse=late)
    assert len(late["users"]) == 10 + 7
    assert ids(late["segment_members"]) == sorted(f"b{i}" for i in range(7))
    assert len(braze.requested) == 2


@in_a_loop
async def test_a_killed_bucket_export_does_not_load_twice(tmp_path, s3):
    s3.put_object(Bucket="exports", Key="k/" + key("1"), Body=archive(profile_lines(0, 10)))
    async with Braze(url=False) as braze:
        settings = {"bucket": "s3://exports/k/some/folder", "quiet_seconds": 0.1}
        async for event in braze.exports(tmp_path, **settings).events([SEGMENT]):
            load(event.job, [event.path], {})
            break
        s3.put_object(Bucket="exports", Key="k/" + key("2"), Body=archive(profile_lines(10, 20)))
        warehouse, _ = await run(braze.exports(tmp_path, **settings))
    assert ids(warehouse["users"]) == sorted(f"b{i}" for i in range(10, 20))
    assert ids(warehouse["segment_members"]) == sorted(f"b{i}" for i in range(20))
    assert len(braze.requested) == 1


@in_a_loop
async def test_files_of_the_control_group_are_under_an_id_of_its_own(tmp_path):
    folder = tmp_path / "bucket/segment-export/own-id/2026-09-01" / PREFIX
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text(profile_lines(0, 5))
    async with Braze(url=False) as braze:
        exports = braze.exports(tmp_path, bucket=f"file://{tmp_path}/bucket", quiet_seconds=0.05)
        warehouse, failed = await run(exports, [Audience(GLOBAL_CONTROL_GROUP)])
    assert not failed
    assert len(warehouse["users"]) == 5


@in_a_loop
async def test_a_bucket_that_is_not_set_or_not_readable_gets_a_sentence(tmp_path, s3):
    async with Braze(url=False) as braze:
        _, (failed,) = await run(braze.exports(tmp_path))
        assert "set `export_bucket`" in str(failed.error)
        for wrong in ("s3://no-such-bucket", "s3://no-such-bucket/braze"):
            _, (failed,) = await run(braze.exports(tmp_path, bucket=wrong))
            assert f"`export_bucket` ({wrong}) does not exist" in str(failed.error)
        assert len(braze.requested) == 1
        _, (failed,) = await run(braze.exports(tmp_path / "empty", bucket="s3://exports/empty", timeout_minutes=0))
        assert "did not arrive in s3://exports/empty" in str(failed.error)
    for wrong, words in {
        "my-bucket": "s3://",
        "s3://[my-bucket": "s3://",
        "gs://b": r"braze-elt\[gcs\]",
        "az://b": r"\[azure\]",
        "xy://b": "xy",
        "ftp://127.0.0.1:1/b": r"ftp://, whose storage cannot be opened \(ConnectionRefusedError\)",
    }.items():
        with pytest.raises(ConfigurationError, match=words):
            open_bucket(wrong)


@in_a_loop
async def test_ids_fifty_at_a_time_with_the_unknown_reported_by_place(tmp_path):
    asked = (f"no-{i}\n" if i % 100 == 0 else f"u{i}" for i in range(1, 2301))
    async with Braze() as braze:
        files = [file async for file in export_ids(braze.client, asked, export_fields(["email"]), tmp_path / "w")]
    bodies = [body for _, body in braze.requested]
    assert [len(body["external_ids"]) for body in bodies] == [50] * 46
    assert bodies[0]["fields_to_export"] == ["braze_id", "email"]
    assert [item for file in files for item in file.unknown] == [(i, f"no-{i}") for i in range(100, 2301, 100)]
    assert all(stat.S_IMODE(file.path.stat().st_mode) == 0o600 for file in files)
    with ProfileShredder(tmp_path / "s") as shredder:
        assert sum(group.profiles for group in shredder.groups(file.path for file in files)) == 2300 - 23


@in_a_loop
async def test_an_id_is_unknown_if_it_gets_no_profile_and_is_asked_for_once(tmp_path):
    ids = ["\ufeffa\n", *["no-b\n"] * 120, "a\n"]
    async with Braze() as braze:
        braze.names_unknown = False
        files = [file async for file in export_ids(braze.client, ids, export_fields([]), tmp_path / "w")]
    assert [body["external_ids"] for _, body in braze.requested] == [["a", "no-b"]]
    assert [file.unknown for file in files] == [((2, "no-b"),)]


class Listless(Braze):
    """Answers a look-up with a `body` that lists no profiles."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    async def ids(self, request):
        return web.json_response(self.body, status=201)


@pytest.mark.parametrize("users", [{}, {"users": None}, {"users": {}}], ids=["missing", "null", "an object"])
@in_a_loop
async def test_an_answer_without_a_list_of_profiles_does_not_say_that_nobody_is_known(tmp_path, users):
    async with Listless({"message": "success", **users}) as braze:
        (file,) = [file async for file in export_ids(braze.client, ["1", "2"], export_fields([]), tmp_path / "w")]
    assert file.unknown == ()
    (error,) = file.failed
    assert "ids in lines 1 to 2 were not looked up" in str(error)
    assert "no list of users" in str(error)


@in_a_loop
async def test_an_empty_list_of_profiles_says_that_nobody_is_known(tmp_path):
    async with Listless({"message": "success", "users": []}) as braze:
        (file,) = [file async for file in export_ids(braze.client, ["1", "2"], export_fields([]), tmp_path / "w")]
    assert file.unknown == ((1, "1"), (2, "2"))
    assert not file.failed


class Odd(Braze):
    """Answers with whole numbers of more than 64 bits, half a surrogate pair, and a byte that is not UTF-8."""

    async def ids(self, request):
        users = (
            b'{"braze_id": "b-1", "custom_attributes": {"n": 123456789012345678901234567890, "m": -1}},'
            rb'{"braze_id": "b-2", "email": "\ud83d"}, {"braze_id": "b-3", "email": "'
            b'\xff"}, {"braze_id": "b-4", "email": "\xc3\xa4@x.example"}'
        )
        body = b'{"message": "success", "users": [' + users + b"]}"
        return web.Response(body=body, status=201, content_type="application/json")


@in_a_loop
async def test_odd_numbers_and_texts_of_a_profile_by_id_cost_no_other(tmp_path):
    fields = export_fields(["email", "custom_attributes"])
    async with Odd() as braze:
        (file,) = [file async for file in export_ids(braze.client, ["1", "2", "3", "4"], fields, tmp_path / "w")]
    assert not file.failed
    with ProfileShredder(tmp_path / "s") as shredder:
        (group,) = shredder.groups([file.path])
    ((_, users), (_, attributes), *_) = group.tables
    assert dict(zip(*users.select(["braze_id", "email"]).to_pydict().values(), strict=True)) == {
        "b-1": None,
        "b-4": "ä@x.example",
    }
    values = dict(zip(*attributes.select(["name", "value"]).to_pydict().values(), strict=True))
    assert (values["n"], values["m"]) == ("123456789012345678901234567890", "-1")
    assert [found.numbers for found in group.quarantined] == [(2, 3)]


def test_fields():
    assert export_fields([]).names[:2] == ("braze_id", "external_id")
    single = export_fields(["custom_attributes.tier", "custom_attributes.a b"])
    segment, control = Audience("s").endpoint, Audience(GLOBAL_CONTROL_GROUP).endpoint
    assert single.body(segment)["custom_attributes_to_export"] == ["tier", "a b"]
    assert "custom_attributes" in single.loaded(segment)
    assert single.body(control) == {"fields_to_export": ["braze_id"]}
    assert "custom_attributes_to_export" not in export_fields(["custom_attributes.a", "custom_attributes"]).body(
        segment
    )
    assert export_fields(["push_tokens"]).loaded(control) == ("braze_id",)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (["emial"], "email"),
        (["email_opted_in_at"], "email_subscribe"),
        (["devices.idfa"], "devices"),
        ([f"custom_attributes.{i}" for i in range(501)], "500"),
    ],
)
def test_fields_that_cannot_be_meant_get_a_sentence(fields, words):
    with pytest.raises(ConfigurationError, match=words):
        export_fields(fields)


def test_the_lifetime_of_a_url_is_four_hours():
    assert exports_module.URL_LIFETIME == 14400
