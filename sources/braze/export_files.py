"""Fetching an export's files: one archive at a URL, or many files in the customer's own bucket."""

import errno
import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from itertools import chain
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from sources.braze.errors import BrazeError, ConfigurationError
from sources.braze.export_jobs import ExportJob
from sources.braze.private_files import owner_only

ARCHIVE = "archive"
"""What the one file of an export with a URL is called here: its own name is part of the secret."""

_CHUNK = 64 << 10
_TIMEOUT = (10, 90)
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_NOT_YET = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)
_EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}


class StorageError(BrazeError):
    """The bucket or the storage host does not give the files; the text names the setting."""


class Download:
    """The archive of an export on its way here, in as many tries as it takes.

    `gained` says whether the latest try brought more of it than all before.
    """

    def __init__(self, session: requests.Session, job: ExportJob, stopped: Event) -> None:
        self._session = session
        self._job = job
        self._stopped = stopped
        self._path = job.path(ARCHIVE)
        self._most = self._received()
        self._from_its_beginning = False
        self.gained = False

    @property
    def host(self) -> str:
        """Where the archive is fetched from: what may be told of the URL."""
        return urlsplit(self._job.url or "").hostname or ""

    def attempt(self) -> bool:
        """Fetch the archive, or the rest of it after a cut. False as long as it is not there, or empty.

        Storage answers 403 or 404 both before the archive is ready and after it has expired. Raises
        `requests.RequestException` for a cut or a refusal, or once stopped; the next call goes on behind what was
        received. Raises ExportCancelledError, and OSError if the disk does not take it.
        """
        try:
            return self._fetched()
        finally:
            received = self._received()
            self.gained, self._most = received > self._most, max(received, self._most)

    def _fetched(self) -> bool:
        known = self._job.file(ARCHIVE)
        received = self._received() if known else 0
        if known and received and received == known.size:
            return True
        have, self._from_its_beginning = 0 if self._from_its_beginning else received, False
        # Without `auth`, requests would add what ~/.netrc holds for the host.
        with self._session.get(
            self._job.url or "",
            headers=_range(have, known.etag if known else ""),
            stream=True,
            timeout=_TIMEOUT,
            auth=lambda request: request,
        ) as answer:
            resumed = answer.status_code == HTTPStatus.PARTIAL_CONTENT and _starts_at(answer, have)
            if answer.status_code == HTTPStatus.OK or resumed:
                return self._kept(answer, have if resumed else 0)
            if answer.status_code in _NOT_YET:
                return False
            if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._path.unlink(missing_ok=True)
            # A host that cannot give a part may say so by any 5xx; one that is just busy gives the rest later.
            self._from_its_beginning = bool(have) and answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR
            raise requests.HTTPError(f"HTTP {answer.status_code}")

    def _kept(self, answer: requests.Response, have: int) -> bool:
        """Write what is sent behind the `have` bytes that are there. False if it is no archive."""
        chunks = _received(answer)
        first = next(chunks, b"")
        if not have and first.removeprefix(BOM_UTF8).lstrip().startswith(b"<"):
            return False  # a page that says why not, whatever its status
        size = _whole_size(answer, have)
        self._job.note(ARCHIVE, size or 0, answer.headers.get("ETag", ""))
        with open(self._path, "ab" if have else "wb", opener=owner_only) as file:
            for chunk in chain([first], chunks):
                file.write(chunk)
                self._job.check_kept()
                if self._stopped.is_set():
                    raise requests.ConnectionError("the download was stopped")
        received = self._received()
        if not received:  # an archive of nobody has some bytes
            return False
        if size is None:
            self._job.note(ARCHIVE, received)
        elif received != size:
            raise requests.ConnectionError("the download was cut")
        return True

    def _received(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0


def _range(have: int, etag: str) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    if have and etag.startswith('"'):
        headers["If-Range"] = etag
    return headers


def _starts_at(answer: requests.Response, position: int) -> bool:
    return answer.headers.get("Content-Range", "").startswith(f"bytes {position}-")


def _whole_size(answer: requests.Response, have: int) -> int | None:
    """The archive's size in bytes, None if the answer does not say: a part may be shorter than what was asked for."""
    whole = re.fullmatch(r"bytes \d+-\d+/(\d+)", answer.headers.get("Content-Range", ""))
    if whole and have:
        return int(whole[1])
    return have + int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None


def _received(answer: requests.Response) -> Iterator[bytes]:
    """The body as it is sent: decoded (`Content-Encoding`), it would have another length than the headers say."""
    try:
        yield from answer.raw.stream(_CHUNK, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(error) from None


@dataclass(frozen=True)
class Bucket:
    """The customer's bucket: an fsspec file system, and the path in it under which Braze writes."""

    files: Any
    root: str
    setting: str

    def listing(self, job: ExportJob) -> dict[str, int]:
        """Return path and size in bytes of the export's files so far, under any date folder."""
        first = _first_date(job.object_prefix)
        try:
            self.files.invalidate_cache()
            folders = list(self._date_folders(job))
            likely = [folder for folder in folders if folder.rpartition("/")[2] >= first]
            others = [folder for folder in folders if folder not in likely]
            # A bucket may hold years of exports: most of its folders are looked into only if the export is in no other.
            return self._found(likely, job.object_prefix) or self._found(others, job.object_prefix)
        except Exception as error:
            raise self._refused(error) from None

    def check_readable(self) -> None:
        """Raise StorageError if the bucket is not there or may not be listed."""
        try:
            self.files.invalidate_cache()
            self._inside(self._exports)
        except Exception as error:
            raise self._refused(error) from None
        self.check_there()

    def check_there(self) -> None:
        """Raise StorageError if there is no such bucket: its listing looks like that of one without files."""
        name = self.root.partition("/")[0]
        try:
            for look in (self.files.info, self.files.ls):  # the first may take an empty bucket for none
                with suppress(FileNotFoundError):
                    look(name)
                    return
        except Exception:
            return  # whoever may list the prefix alone is refused here
        raise StorageError(
            f"The bucket in `export_bucket` ({self.setting}) does not exist: set it to the one that Braze delivers"
            " exports into. A run goes on with an export that was requested before."
        )

    def fetch(self, remote: str, local: Path) -> None:
        """Copy a file from the bucket, readable by the owner only. Raises OSError if the disk does not take it."""
        with open(local, "wb", opener=owner_only):
            pass
        try:
            self.files.get_file(remote, str(local))
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _DISK_FULL:
                raise
            raise self._refused(error) from None

    def _found(self, folders: Iterable[str], prefix: str) -> dict[str, int]:
        return {
            path: int(known["size"])
            for folder in folders
            for path, known in self.files.find(f"{folder}/{prefix}", detail=True).items()
            if known["type"] == "file" and not path.endswith("/")
        }

    @property
    def _exports(self) -> str:
        """The folder that has one for each segment."""
        base = f"{self.root}/segment-export".lstrip("/") if self.root != "/" else "segment-export"
        return f"/{base}" if self.root.startswith("/") else base

    def _date_folders(self, job: ExportJob) -> Iterator[str]:
        base = self._exports
        # The global control group has an id of its own there, which Braze does not tell.
        audiences = self._inside(base) if job.audience.is_control_group else [f"{base}/{job.audience.segment_id}"]
        for audience in audiences:
            yield from self._inside(audience)

    def _inside(self, folder: str) -> list[str]:
        try:
            return [str(path).rstrip("/") for path in self.files.ls(folder, detail=False)]
        except FileNotFoundError:
            return []

    def _refused(self, error: Exception) -> StorageError:
        return StorageError(
            f"The bucket in `export_bucket` ({self.setting}) could not be read ({type(error).__name__})."
            " Check its name, the credentials that the environment gives, and that they may list and read it."
        )


def open_bucket(export_bucket: str) -> Bucket:
    """Open the setting `export_bucket`: s3://, gs://, az:// or any other fsspec URL.

    Raises ConfigurationError where it is no such URL, its driver is not installed, or cannot open it.
    """
    import fsspec

    scheme, is_url, _ = export_bucket.partition("://")
    no_bucket = ConfigurationError(
        f"`export_bucket` is {export_bucket!r}: give it as s3://bucket, gs://bucket or az://container,"
        " with a prefix behind it if there is one."
    )
    if not is_url:
        raise no_bucket
    try:
        # A driver that fsspec kept from before would have the credentials and the endpoint of before.
        files, root = fsspec.core.url_to_fs(export_bucket, use_listings_cache=False, skip_instance_cache=True)
    except ImportError:
        extra = _EXTRAS.get(scheme)
        cure = f": pip install 'braze-elt[{extra}]'." if extra else "."
        raise ConfigurationError(f"`export_bucket` is on {scheme}://, whose driver is not installed{cure}") from None
    except ValueError:
        raise no_bucket from None
    except Exception as error:  # some drivers connect at once
        raise ConfigurationError(
            f"`export_bucket` is on {scheme}://, whose storage cannot be opened ({type(error).__name__}): check the"
            " address, and what its driver needs."
        ) from None
    return Bucket(files, str(root).rstrip("/"), export_bucket)


def _first_date(object_prefix: str) -> str:
    """Return the earliest date folder that is likely: the prefix mostly ends in the epoch second of the request."""
    ending = re.search(r"-(\d{1,11})$", object_prefix)
    if not ending:
        return ""
    # Two days early, since the folder is in a zone of Braze's choosing.
    return (datetime.fromtimestamp(int(ending[1]), UTC) - timedelta(days=2)).strftime("%Y-%m-%d")
