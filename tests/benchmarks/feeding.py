"""Parcels into a warehouse by the way that `sync` takes after its requests."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.extract import DltSource

from destinations.indexes import ensure
from destinations.packages import load_package
from pipelines.job import CHUNK_ROWS
from sources.braze import open_client
from sources.braze.chunks import Chunk
from sources.braze.extraction import Extraction
from sources.braze.hints import merge_keys
from sources.braze.parcels import Parcel
from sources.braze.resources import resources
from sources.braze.settings import resolve
from sources.braze.users import ProfileRequest


class Feed(Extraction):
    """An extraction that brings these parcels, and asks Braze for nothing."""

    def __init__(self, parcels: Iterator[Parcel], folder: Path) -> None:
        settings = resolve(api_key="none", endpoint="http://127.0.0.1:9")
        super().__init__(settings, open_client(settings), datetime.now(UTC), request=ProfileRequest(folder))
        self._parcels = parcels
        self._waiting = next(parcels, None)

    @property
    def finished(self) -> bool:
        """Whether all was taken."""
        return self._waiting is None

    @property
    def waits_for_commit(self) -> bool:
        """Never."""
        return False

    def start(self, *_: Any) -> None:
        """Begin nothing."""

    def take(self, resource: str) -> Parcel | None:
        """Give the next parcel."""
        parcel, self._waiting = self._waiting, next(self._parcels, None)
        return parcel


def load(pipeline: dlt.Pipeline, resource: str, parcels: Iterator[Parcel], folder: Path) -> None:
    """Load parcels of `resource` package by package, as `sync` does."""
    feed = Feed(parcels, folder)
    while not feed.finished:
        load_package(pipeline, DltSource(dlt.Schema("braze"), "braze", resources(feed, Chunk(CHUNK_ROWS), [resource])))
        ensure(pipeline, merge_keys())
