"""Exports that are cancelled, overtaken, cut off, odd or never there."""

import asyncio
import gzip
import json
import os
from collections import Counter
from contextlib import suppress
from itertools import count

import duckdb
import pytest
from aiohttp import web

from sources.braze.audience import Audience
from sources.braze.export_files import ARCHIVE, Bucket
from sources.braze.export_jobs import ExportCancelledError, find_job
from sources.braze.export_waiting import ExportTimeoutError
from sources.braze.exports import AllArrived, Arrived, Failed, cancel_export
from sources.braze.profile_files import CorruptFileError, blocks
from sources.braze.profiles import ProfileShredder
from sources.braze.settings import resolve
from sources.braze.users import Delivery, ProfileRequest, Profiles
from tests.test_exports import (
    PREFIX,
    SEGMENT,
    Braze,
    all_loaded,
    archive,
    ids,
    in_a_loop,
    left_behind,
    load,
    load_members,
    profile_lines,
    run,
)


class Warehouse:
    """Takes parcels as a destination does: the last row of a key counts. `tables` has rows by table and key."""

    def __init__(self, after=lambda: None):
        self.tables = {}
        self.replaced = []
        self.emptied = []
        self.failures = []
        self._after = after

    def post(self, parcel):
        for name, rows in parcel.tables.items():
            shape = parcel.shapes[name]
            for row in rows.to_pylist():
                self.tables.setdefault(name, {})[tuple(row[column] for column in shape.key)] = row
        self.replaced += [name for name, shape in parcel.shapes.items() if name == "segment_members" and shape.parent]
        self.emptied += [parent["segment_id"] for parent in parcel.parents]
        if parcel.on_commit:
            parcel.on_commit()
        self._after()

    async def nothing(self):
        pass

    async def load(self, braze, folder, *audiences, **options):
        settings = resolve(api_key="key-1", endpoint="http://127.0.0.1:1", **({"fields": ["email"]} | options))
        jobs = folder / "jobs"
        delivery = Delivery(self.post, self.nothing, self.nothing, self._fail, all_loaded(jobs))
        await Profiles(braze.client, settings, ProfileRequest(jobs, audiences), delivery).load()
        return self

    def _fail(self, name, error):
        self.failures.append((name, str(error)))

    def ids(self, table="users"):
        return sorted(row["braze_id"] for row in self.tables.get(table, {}).values())


def braze_ids(*numbers):
    return sorted(f"b{i}" for i in range(*numbers))


def in_bucket(folder, files, segment=SEGMENT.segment_id, date="2026-09-01"):
    """Files of an export in a bucket that is a folder; returns the setting."""
    place = folder / "bucket/segment-export" / segment / date / PREFIX
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    return f"file://{folder}/bucket"


def tens(files):
    return {f"{i:02}.zip": archive(profile_lines(i * 10, i * 10 + 10)) for i in range(files)}


def cancelled(jobs):
    """What `--cancel` of another process leaves on disk."""
    find_job(jobs, SEGMENT).remove()


# Cancelled


@in_a_loop
async def test_a_cancelled_bucket_export_does_not_come_back(tmp_path):
    bucket = in_bucket(tmp_path, tens(70))  # more than may wait
    events = []
    async with Braze(url=False) as braze:
        exports = braze.exports(tmp_path, bucket=bucket, quiet_seconds=0.2)
        async for event in exports.events([SEGMENT]):
            events.append(event)
            if len(events) == 2:
                await cancel_export(braze.client, tmp_path / "jobs", SEGMENT.segment_id)
    assert Counter(map(type, events)) == {Arrived: 2, Failed: 1}
    assert "was cancelled" in str(events[-1].error)
    assert not left_behind(tmp_path / "jobs")


@in_a_loop
async def test_cancelled_while_a_file_is_on_its_way(tmp_path, monkeypatch):
    fetch = Bucket.fetch

    def fetch_and_cancel(bucket, remote, local):
        fetch(bucket, remote, local)
        cancelled(tmp_path / "jobs")

    monkeypatch.setattr(Bucket, "fetch", fetch_and_cancel)
    async with Braze(url=False) as braze:
        exports = braze.exports(tmp_path, bucket=in_bucket(tmp_path, tens(3)), quiet_seconds=0.2)
        warehouse, (failed,) = await run(exports)
    assert "was cancelled" in str(failed.error)
    assert not warehouse
    assert not left_behind(tmp_path / "jobs")


class Interrupted(Braze):
    """The first download of `seg-1` stops half-way until `go_on` is set."""

    go_on = None

    async def storage(self, request):
        if self.go_on or self.downloads:
            return await super().storage(request)
        self.go_on = asyncio.Event()
        half = len(self.content) // 2
        answer = web.StreamResponse()
        answer.content_length = len(self.content)
        await answer.prepare(request)
        await answer.write(self.content[:half])
        await self.go_on.wait()
        await answer.write(self.content[half:])
        return answer


@in_a_loop
async def test_cancelled_while_the_archive_is_on_its_way_costs_that_segment(tmp_path):
    async with Interrupted(archive(profile_lines(0, 20_000))) as braze:
        running = asyncio.create_task(run(braze.exports(tmp_path, parallel=1), [SEGMENT, Audience("other")]))
        while not braze.go_on:
            await asyncio.sleep(0.005)
        await cancel_export(braze.client, tmp_path / "jobs", SEGMENT.segment_id)
        braze.go_on.set()
        warehouse, (failed,) = await running
    assert (failed.audience, str(failed.error)) == (SEGMENT, "The export of seg-1 was cancelled.")
    assert len(warehouse["segment_members"]) == 20_000
    assert {row["segment_id"] for row in warehouse["segment_members"]} == {"other"}
    assert not left_behind(tmp_path)


@in_a_loop
async def test_cancelled_between_two_groups_nothing_stays(tmp_path, monkeypatch):
    monkeypatch.setattr("sources.braze.profiles.GROUP_PROFILES", 10)
    posted = count()
    warehouse = Warehouse(after=lambda: next(posted) or cancelled(tmp_path / "jobs"))
    async with Braze(archive(*(profile_lines(i * 10, i * 10 + 10) for i in range(4)))) as braze:
        await warehouse.load(braze, tmp_path, SEGMENT)
    assert warehouse.ids() == braze_ids(10)
    assert not warehouse.ids("segment_members")
    assert warehouse.failures == [("seg-1", "The export of seg-1 was cancelled.")]
    assert not left_behind(tmp_path)


@in_a_loop
async def test_members_are_all_or_none_of_a_cancelled_export(tmp_path):
    async with Braze(archive(profile_lines(0, 10))) as braze:
        async for event in braze.exports(tmp_path).events([SEGMENT]):
            if isinstance(event, Arrived):
                load(event.job, [event.path], {})
            else:
                _, batches = event.job.members()
                cancelled(tmp_path / "jobs")
                assert sum(rows.num_rows for rows in batches) == 10
                with pytest.raises(ExportCancelledError):
                    event.job.members()


# Not there, or late


@in_a_loop
async def test_a_bucket_export_that_never_comes_is_requested_anew_the_next_time(tmp_path):
    (tmp_path / "bucket").mkdir()
    seconds = count(0, 30)
    requests, errors = [], []
    async with Braze(url=False) as braze:
        for night in range(3):
            clock = lambda night=night: 1e9 + night * 86400 + next(seconds)  # noqa: E731
            settings = {"bucket": f"file://{tmp_path}/bucket", "quiet_seconds": 60, "timeout_minutes": 5}
            _, (failed,) = await run(braze.exports(tmp_path, clock=clock, **settings))
            requests.append(len(braze.requested))
            errors.append(type(failed.error))
    assert requests == [1, 2, 3]
    assert set(errors) == {ExportTimeoutError}


@in_a_loop
async def test_a_bucket_export_that_took_its_time_is_taken_the_next_night(tmp_path):
    seconds = count(0, 30)
    settings = {"bucket": f"file://{tmp_path}/bucket", "quiet_seconds": 60, "timeout_minutes": 5}
    async with Braze(url=False) as braze:
        await run(braze.exports(tmp_path, clock=lambda: 1e9 + next(seconds), **settings))
        in_bucket(tmp_path, tens(1))
        warehouse, failed = await run(braze.exports(tmp_path, clock=lambda: 1e9 + 86400 + next(seconds), **settings))
    assert not failed
    assert ids(warehouse["segment_members"]) == braze_ids(10)
    assert len(braze.requested) == 1


@pytest.mark.parametrize("date", ["2019-04-25", "2030-01-01", "latest"])
@in_a_loop
async def test_files_are_found_under_any_date(tmp_path, date):
    bucket = in_bucket(tmp_path, tens(2), date=date)
    async with Braze(url=False) as braze:
        warehouse, failed = await run(braze.exports(tmp_path, bucket=bucket, quiet_seconds=0.1))
    assert not failed
    assert ids(warehouse["segment_members"]) == braze_ids(20)


class Slow(Braze):
    """Storage that never has the archive; a minute goes by with each question for it."""

    now = 1e9

    async def storage(self, _):
        self.now += 60
        return web.Response(status=403)


@in_a_loop
async def test_an_archive_that_never_comes_costs_one_export_a_night(tmp_path):
    """With the default waiting, which is as long as a URL lives."""
    async with Slow() as braze:
        for night in range(3):
            exports = braze.exports(tmp_path, clock=lambda: braze.now, first_poll=0, longest_poll=0)
            _, (failed,) = await run(exports)
            assert len(braze.requested) == night + 1
            assert "Its link has expired: the next run requests it anew" in str(failed.error)
            assert not left_behind(tmp_path / "jobs")
            braze.now += 20 * 3600


class Unreachable(Braze):
    """Storage that breaks off each answer, after the first `sent` bytes of the archive."""

    sent = 0

    async def storage(self, request):
        self.downloads.append(request)
        if self.sent:
            answer = web.StreamResponse()
            answer.content_length = len(self.content)
            await answer.prepare(request)
            await answer.write(self.content[: self.sent])
        request.transport.close()
        return answer if self.sent else web.Response()


@pytest.mark.parametrize("sent", [0, 100])
@in_a_loop
async def test_a_storage_that_always_breaks_off_is_asked_less_and_less_and_named(tmp_path, caplog, sent):
    async with Unreachable(archive(profile_lines(0, 500))) as braze:
        braze.sent = sent
        settings = {"timeout_minutes": 2 / 60, "first_poll": 0.05, "longest_poll": 60}
        _, (failed,) = await run(braze.exports(tmp_path, **settings))
    assert len(braze.downloads) < 15
    assert "the latest try to fetch it ended with ConnectionError at 127.0.0.1." in str(failed.error)
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["The export of seg-1 cannot be fetched (ConnectionError at 127.0.0.1): trying again."]
    assert "s3cret" not in caplog.text + str(failed.error)


class WithoutRanges(Braze):
    """Storage that answers a question for a part by an error."""

    async def storage(self, request):
        if "Range" not in request.headers:
            return await super().storage(request)
        self.downloads.append(request)
        return web.Response(status=501)


@in_a_loop
async def test_a_storage_that_refuses_parts_is_asked_for_all(tmp_path, caplog):
    async with WithoutRanges(archive(os.urandom(200_000).hex(), profile_lines(0, 50))) as braze:
        braze.cut_after = 150_000
        warehouse, failed = await run(braze.exports(tmp_path, timeout_minutes=0.1))
    assert not failed
    assert len(warehouse["users"]) == 50
    assert ["Range" in request.headers for request in braze.downloads] == [False, True, False]
    assert "(HTTP 501 at 127.0.0.1)" in caplog.text


class PageAtFirst(Braze):
    """Storage that says with a 200 that the archive is not there yet."""

    async def storage(self, request):
        if len(self.downloads) > 1:
            return await super().storage(request)
        self.downloads.append(request)
        return web.Response(body=b"\xef\xbb\xbf\n<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>")


@in_a_loop
async def test_a_page_is_no_archive(tmp_path):
    async with PageAtFirst(archive(profile_lines(0, 3))) as braze:
        warehouse, failed = await run(braze.exports(tmp_path))
    assert not failed
    assert len(warehouse["users"]) == 3
    assert len(braze.downloads) == 3


def _denied(*_, **__):
    raise PermissionError


@in_a_loop
async def test_late_files_are_looked_for_again_after_an_error_of_the_bucket(tmp_path):
    bucket = in_bucket(tmp_path, tens(1))
    settings = {"bucket": bucket, "quiet_seconds": 0.1}
    async with Braze(url=False) as braze:
        await run(braze.exports(tmp_path, **settings))
        in_bucket(tmp_path, {"late.zip": archive(profile_lines(50, 60))}, date="2026-09-02")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fsspec.implementations.local.LocalFileSystem.find", _denied)
            _, (failed,) = await run(braze.exports(tmp_path, **settings))
        assert "export_bucket" in str(failed.error)
        braze.url, braze.content = True, archive(profile_lines(0, 3))
        warehouse, failed = await run(braze.exports(tmp_path, **settings))
    assert not failed
    assert ids(warehouse["users"]) == sorted([*braze_ids(3), *braze_ids(50, 60)])
    assert ids(warehouse["segment_members"]) == braze_ids(3)
    assert len(braze.requested) == 2


# Newer and older


class PerSegment(Braze):
    """Each segment has an archive of its own: in `contents`, and there once the one that it is `behind` was fetched."""

    def __init__(self):
        super().__init__()
        self.contents = {}
        self.behind = {}

    async def start(self, request):
        body = await request.json()
        self.requested.append(body["segment_id"])
        url = f"{self.address}/storage/{body['segment_id']}"
        return web.json_response({"message": "success", "object_prefix": PREFIX, "url": url}, status=201)

    async def storage(self, request):
        name = request.match_info["name"]
        if name not in self.contents or self.behind.get(name, name) not in [name, *self.downloads]:
            return web.Response(status=403)
        self.downloads.append(name)
        return web.Response(body=self.contents[name])


def with_email(email, *braze_ids):
    return archive("".join(json.dumps({"braze_id": braze_id, "email": email}) + "\n" for braze_id in braze_ids))


@pytest.mark.parametrize("order", ["ABC", "BAC"])
@in_a_loop
async def test_of_a_resumed_export_and_new_ones_the_new_ones_count(tmp_path, order):
    a, b, c = map(Audience, "ABC")
    async with PerSegment() as braze:
        evening = await Warehouse().load(braze, tmp_path, a, export_timeout_minutes=0.01)
        assert "did not arrive" in evening.failures[0][1]
        braze.contents = {
            "A": with_email("old@x.example", "p", "q", "r"),
            "B": with_email("new@x.example", "p"),
            "C": with_email("new@x.example", "q"),
        }
        braze.behind = dict(zip(order[1:], order, strict=False))
        night = await Warehouse().load(braze, tmp_path, a, b, c)
    assert not night.failures
    assert (braze.requested[0], set(braze.requested[1:])) == ("A", {"B", "C"})
    emails = {braze_id: row["email"][:3] for (braze_id,), row in night.tables["users"].items()}
    assert emails == {"p": "new", "q": "new", "r": "old"}
    members = {("A", "p"), ("A", "q"), ("A", "r"), ("B", "p"), ("C", "q")}
    assert set(night.tables["segment_members"]) == members


@in_a_loop
async def test_an_older_export_that_is_resumed_later_leaves_newer_profiles_alone(tmp_path):
    a, b = map(Audience, "AB")
    warehouse = Warehouse()
    async with PerSegment() as braze:
        await warehouse.load(braze, tmp_path, a, export_timeout_minutes=0.01)
        braze.contents = {"B": with_email("new@x.example", "p", "r")}
        await warehouse.load(braze, tmp_path, a, b, export_timeout_minutes=0.01)
        braze.contents = {"A": with_email("old@x.example", "p", "q")}
        await warehouse.load(braze, tmp_path, a)
    assert braze.requested == ["A", "B"]
    emails = {braze_id: row["email"][:3] for (braze_id,), row in warehouse.tables["users"].items()}
    assert emails == {"p": "new", "q": "old", "r": "new"}
    assert set(warehouse.tables["segment_members"]) == {("A", "p"), ("A", "q"), ("B", "p"), ("B", "r")}
    assert not left_behind(tmp_path / "jobs")


class KilledError(Exception):
    """The run ends here."""


@in_a_loop
async def test_other_pii_rules_than_those_of_the_run_that_was_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("sources.braze.profiles.GROUP_PROFILES", 10)
    posted = count()

    def killed():
        if next(posted) == 1:
            raise KilledError

    rules = {"pii": {"braze_id": "hash"}, "pii_key": "a long random secret"}
    async with Braze(archive(*(profile_lines(i * 10, i * 10 + 10) for i in range(3)))) as braze:
        with pytest.raises(KilledError):
            await Warehouse(after=killed).load(braze, tmp_path, SEGMENT)
        state = tmp_path / "jobs/seg-1/job.json"
        assert list((tmp_path / "jobs/seg-1/members").iterdir())
        kept = []
        warehouse = await Warehouse(after=lambda: kept.append(state.exists() and state.read_text())).load(
            braze, tmp_path, SEGMENT, **rules
        )
    assert not warehouse.failures
    assert len(warehouse.ids("segment_members")) == 30
    assert {len(braze_id) for braze_id in warehouse.ids("segment_members")} == {64}, "a braze_id is in the clear"
    assert warehouse.ids() == warehouse.ids("segment_members")
    assert len(braze.requested) == 1
    assert not any(rules["pii_key"] in text for text in kept if text)


@in_a_loop
async def test_members_are_read_while_others_are_said_to_be_loaded(tmp_path):
    async with Braze(archive(profile_lines(0, 10))) as braze:
        async for event in braze.exports(tmp_path).events([SEGMENT]):
            if isinstance(event, Arrived):
                with ProfileShredder(event.job.work_folder) as shredder:
                    (group,) = shredder.groups([event.path])
                noted = event.job.shredded(group.members)
                event.job.loaded(noted, parts=group.parts, files=group.finished)
                assert noted.exists()
            else:
                assert isinstance(event, AllArrived)
                warehouse = {}
                load_members(event.job, warehouse)
                assert ids(warehouse["segment_members"]) == braze_ids(10)


# Odd files, and a full disk


def out_of_memory(monkeypatch, when):
    """No group can be read of whose lines `when` is true."""
    read = ProfileShredder._read

    def may_fail(shredder, lines):
        made = read(shredder, lines)
        if when(lines):
            raise duckdb.OutOfMemoryException("x")
        return made

    monkeypatch.setattr(ProfileShredder, "_read", may_fail)


@in_a_loop
async def test_a_group_that_cannot_be_read_costs_nothing_else(tmp_path, monkeypatch):
    groups = count()
    out_of_memory(monkeypatch, lambda _: next(groups) == 2)
    bucket = in_bucket(tmp_path, tens(6))
    async with Braze(url=False) as braze:
        warehouse = await Warehouse().load(braze, tmp_path, SEGMENT, export_bucket=bucket, export_quiet_seconds=0.1)
    ((_, failure),) = warehouse.failures
    assert f"{PREFIX}/02.zip" in failure
    assert warehouse.ids() == warehouse.ids("segment_members") == sorted([*braze_ids(20), *braze_ids(30, 60)])
    assert not warehouse.replaced, "members of an export that was not read as a whole replaced others"
    assert [path.name for path in left_behind(tmp_path / "jobs")] == ["job.json"]


@in_a_loop
async def test_a_group_of_an_archive_that_cannot_be_read_costs_neither_later_ones_nor_another_segment(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("sources.braze.profiles.GROUP_PROFILES", 10)
    out_of_memory(monkeypatch, lambda lines: any(name.endswith("/1.txt") for name, _, _ in lines.spans))
    async with PerSegment() as braze:
        braze.contents = {
            "A": archive(*(profile_lines(i * 10, i * 10 + 10) for i in range(4))),
            "B": archive(profile_lines(5, 15)),
        }
        warehouse = await Warehouse().load(braze, tmp_path, Audience("A"), Audience("B"), export_parallel=1)
    ((whose, failure),) = warehouse.failures
    assert whose == "A"
    assert "DuckDB could not read 10 lines of archive/1.txt (OutOfMemoryException)" in failure
    assert warehouse.ids() == sorted([*braze_ids(15), *braze_ids(20, 40)])
    members = {"A": [*braze_ids(10), *braze_ids(20, 40)], "B": braze_ids(5, 15)}
    assert set(warehouse.tables["segment_members"]) == {(name, one) for name, some in members.items() for one in some}
    assert not left_behind(tmp_path / "jobs")


@in_a_loop
async def test_a_file_that_ends_within_a_line_removes_nobody(tmp_path):
    warehouse = Warehouse()
    for cut in (True, False):
        last = profile_lines(5, 10).rstrip()
        async with Braze(archive(profile_lines(0, 5), last[:-1] if cut else last)) as braze:
            await warehouse.load(braze, tmp_path, SEGMENT)
        assert warehouse.ids("segment_members") == braze_ids(9 if cut else 10)
        assert bool(warehouse.replaced) is not cut
        if cut:
            assert "archive/1.txt ends within a line." in warehouse.failures[0][1]
    assert len(warehouse.failures) == 2, "the whole file is no failure"


@in_a_loop
async def test_what_is_no_export_at_all_empties_no_segment(tmp_path):
    warehouse = Warehouse()
    async with Braze(archive(profile_lines(0, 3))) as braze:
        await warehouse.load(braze, tmp_path, SEGMENT)
        warehouse.replaced.clear()
        braze.content = b"Sign in\nto the network\nof this hotel.\n"
        await warehouse.load(braze, tmp_path, SEGMENT)
        ((_, failure),) = warehouse.failures
        assert "3 lines of archive are no profiles" in failure
        assert not warehouse.replaced
        assert not warehouse.emptied
        braze.content = archive()
        await warehouse.load(braze, tmp_path, SEGMENT)
    assert warehouse.emptied == ["seg-1"]


@in_a_loop
async def test_long_names_of_a_bucket_are_told_and_not_given_to_files(tmp_path):
    names = ["production-workspace-eu", "data-lake-landing-zone", "braze-user-profile-exports-by-segment", "v2" * 60]
    place = tmp_path.joinpath(*names)
    place.mkdir(parents=True)
    in_bucket(place, {"114f0226319130e1a4770f2602b5639a.zip": archive(profile_lines(0, 3) + "oops\n")})
    options = {"export_bucket": f"file://{place}/bucket", "export_quiet_seconds": 0.1}
    async with Braze(url=False) as braze:
        warehouse = await Warehouse().load(braze, tmp_path, SEGMENT, **options)
    ((_, failure),) = warehouse.failures
    assert f"{PREFIX}/114f0226319130e1a4770f2602b5639a.zip/0.txt is no profile and was left out: 4." in failure
    assert warehouse.ids("segment_members") == braze_ids(3)
    (quarantine,) = (tmp_path / "jobs/quarantine").iterdir()
    assert str(quarantine) in failure
    assert quarantine.read_text() == "4\toops\n"


@in_a_loop
async def test_a_full_disk_costs_the_segment_until_there_is_room(tmp_path):
    async with PerSegment() as braze:
        await Warehouse().load(braze, tmp_path, SEGMENT, export_timeout_minutes=0.01)
        download = find_job(tmp_path / "jobs", SEGMENT).path(ARCHIVE)
        download.symlink_to("/dev/full")
        braze.contents = {"seg-1": archive(profile_lines(0, 5)), "other": archive(profile_lines(5, 10))}
        warehouse = await Warehouse().load(braze, tmp_path, SEGMENT, Audience("other"))
        ((whose, failure),) = warehouse.failures
        assert whose == "seg-1"
        assert f"{tmp_path}/jobs" in failure
        assert "No space left" in failure
        assert set(warehouse.tables["segment_members"]) == {("other", f"b{i}") for i in range(5, 10)}
        download.unlink()
        warehouse = await Warehouse().load(braze, tmp_path, SEGMENT)
    assert warehouse.ids("segment_members") == braze_ids(5)
    assert braze.requested == ["seg-1", "other"]


@in_a_loop
async def test_a_disk_that_fills_up_while_members_are_noted_leaves_the_export_to_the_next_run(tmp_path, monkeypatch):
    monkeypatch.setattr("sources.braze.profiles.GROUP_PROFILES", 10)
    jobs = tmp_path / "jobs"
    parts = [archive(*(profile_lines(i * 10, i * 10 + 10) for i in range(3)))]

    def block():
        members = jobs / "seg-1/members"
        if members.is_dir():
            members.rename(jobs / "seg-1/hidden")
            members.write_text("no folder")

    async with Braze(*parts) as braze:
        warehouse = await Warehouse(after=block).load(braze, tmp_path, SEGMENT)
        ((_, failure),) = warehouse.failures
        assert f"{jobs}/seg-1" in failure
        assert not warehouse.ids("segment_members")
        (jobs / "seg-1/members").unlink()
        (jobs / "seg-1/hidden").rename(jobs / "seg-1/members")
        warehouse = await Warehouse().load(braze, tmp_path, SEGMENT)
    assert warehouse.ids("segment_members") == braze_ids(30)
    assert len(braze.requested) == len(braze.downloads) == 1


class Encoded(Braze):
    """Storage that keeps the archive compressed once more."""

    async def storage(self, request):
        self.downloads.append(request)
        return web.Response(body=gzip.compress(self.content), headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    "content", [profile_lines(0, 5).encode(), archive(profile_lines(0, 2), profile_lines(2, 5))], ids=["lines", "zip"]
)
@in_a_loop
async def test_an_archive_that_is_kept_with_a_content_encoding(tmp_path, content):
    async with Encoded(content) as braze:
        warehouse, failed = await run(braze.exports(tmp_path, timeout_minutes=0.02))
    assert not failed
    assert ids(warehouse["users"]) == braze_ids(5)
    assert len(braze.downloads) == 1


@pytest.mark.parametrize(
    "content", [archive(profile_lines(0, 3), "x"), gzip.compress(profile_lines(0, 3).encode())], ids=["zip", "gzip"]
)
def test_damage_anywhere_is_told_as_damage(tmp_path, content):
    path = tmp_path / "file"
    flipped = [
        content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]
        for place in range(4, len(content))
        for bits in (0x01, 0xFF)
    ]
    damaged = 0
    for changed in [*flipped, *(content[:length] for length in range(4, len(content)))]:
        path.write_bytes(changed)
        with suppress(CorruptFileError):
            list(blocks(path))
            continue
        damaged += 1
    assert damaged > len(content)
