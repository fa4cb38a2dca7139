"""Profiles by external id: `POST users/export/ids`, fifty a request, written to files like an export's."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sources.braze.answers import exact_json_object
from sources.braze.client import Client
from sources.braze.endpoints import USERS_EXPORT_IDS, Json
from sources.braze.errors import BadAnswer, BrazeError, UnknownEntity, first_of
from sources.braze.export_fields import ExportFields
from sources.braze.listings import entries
from sources.braze.private_files import owner_only, private_folder

IDS_PER_REQUEST = 50
_REQUESTS_PER_FILE = 100
_REQUESTS_AT_A_TIME = 32
_REMEMBERED_IDS = 100_000
_BOM = "\ufeff"


@dataclass(frozen=True)
class IdsFile:
    """Answers to some thousand ids.

    `path` has the profiles as JSON lines and is to be removed once they are loaded. `unknown` has the ids
    that Braze does not know: the id's place in the input, from 1, and the id, which is personal data: not for
    logs. `failed` has an error for each request that could not be answered.
    """

    path: Path
    unknown: tuple[tuple[int, str], ...]
    failed: tuple[BrazeError, ...]


@dataclass(frozen=True)
class _Answered:
    lines: bytes
    unknown: frozenset[str]
    known: frozenset[str]


async def export_ids(
    client: Client, external_ids: Iterable[str], fields: ExportFields, folder: Path
) -> AsyncIterator[IdsFile]:
    """Ask for the profiles of external ids, at most 32 requests at a time.

    The ids are read as they are needed; empty ones are left out, and repeated ones if they are not far apart. Files
    come in the order of the input, in `folder`, readable by the owner only. Raises the exceptions of
    `sources.braze.errors` that concern all requests.
    """
    private_folder(folder)
    batches = _batches(_each_once(external_ids))
    body = fields.body(USERS_EXPORT_IDS)
    told_apart = "external_id" in body["fields_to_export"]
    places = asyncio.Semaphore(_REQUESTS_AT_A_TIME)

    async def ask(batch: list[tuple[int, str]]) -> _Answered | BrazeError:
        async with places:
            ids = {"external_ids": [external_id for _, external_id in batch]}
            try:
                return await client.post(USERS_EXPORT_IDS, body | ids, _answered, exact_json_object)
            except (BadAnswer, UnknownEntity) as error:
                return _of_lines(batch, error)

    number = 0
    while gathered := list(islice(batches, _REQUESTS_PER_FILE)):
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(ask(batch)) for batch in gathered]
        except ExceptionGroup as errors:
            raise first_of(errors) from None
        results = [task.result() for task in tasks]
        answered = [
            (batch, result) for batch, result in zip(gathered, results, strict=True) if isinstance(result, _Answered)
        ]
        number += 1
        path = folder / f"ids-{number}.ndjson"
        with open(path, "wb", opener=owner_only) as file:
            file.writelines(answer.lines for _, answer in answered)
        unknown = tuple(found for batch, answer in answered for found in _unknown(batch, answer, told_apart))
        yield IdsFile(path, unknown, tuple(result for result in results if isinstance(result, BrazeError)))


def _unknown(batch: list[tuple[int, str]], answer: _Answered, told_apart: bool) -> Iterator[tuple[int, str]]:
    """Those of the batch whom Braze does not know; `told_apart` says that the profiles have their external ids."""
    for place, external_id in batch:
        if external_id in answer.unknown or (told_apart and external_id not in answer.known):
            yield place, external_id


def _of_lines(batch: list[tuple[int, str]], error: BrazeError) -> BrazeError:
    sentence = f"The ids in lines {batch[0][0]} to {batch[-1][0]} were not looked up: {error}"
    return BrazeError(sentence, endpoint=error.endpoint, status=error.status)


def _answered(answer: Json) -> _Answered:
    users = entries(answer, "users", USERS_EXPORT_IDS)
    return _Answered(
        b"".join(json.dumps(user, separators=(",", ":")).encode() + b"\n" for user in users),
        unknown=frozenset(map(str, answer.get("invalid_user_ids") or [])),
        known=frozenset(str(user.get("external_id")) for user in users if isinstance(user, dict)),
    )


def _each_once(external_ids: Iterable[str]) -> Iterator[tuple[int, str]]:
    """The ids that are not empty with their places, from 1; of those that come again within many thousands, the first.

    A file's first id may begin with a byte order mark.
    """
    seen: set[str] = set()
    for place, text in enumerate(external_ids, 1):
        external_id = text.strip().removeprefix(_BOM).strip()
        if external_id and external_id not in seen:
            if len(seen) == _REMEMBERED_IDS:
                seen.clear()
            seen.add(external_id)
            yield place, external_id


def _batches(numbered: Iterable[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    iterator = iter(numbered)
    while batch := list(islice(iterator, IDS_PER_REQUEST)):
        yield batch
