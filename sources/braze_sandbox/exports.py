"""The profile exports: the POST endpoints, the jobs they start, and the storage that archives are fetched from."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from aiohttp import web

from sources.braze_sandbox.answers import Answer, success
from sources.braze_sandbox.endpoints import Endpoint
from sources.braze_sandbox.entities import Segment
from sources.braze_sandbox.errors import BadRequest, Refusal
from sources.braze_sandbox.export_job import Job, Order
from sources.braze_sandbox.profiles import FIELDS, Renderer, find
from sources.braze_sandbox.series import found

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace

MOST_AT_ONCE = 100
MOST_IDS = 50
_SINGLE = {"braze_id": "braze_id", "device_id": "device_id", "email_address": "email", "phone": "phone"}
_S3_ERROR = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{text}</Message></Error>'

Params = Mapping[str, Any]


class Exports:
    """The export jobs of a workspace, oldest first in `jobs`.

    `base_url` is the server as its client addresses it; archive URLs begin with it.
    """

    def __init__(self, workspace: "Workspace") -> None:
        self._workspace = workspace
        self._folder = tempfile.TemporaryDirectory(prefix="braze-sandbox-")
        self.base_url = ""
        self.jobs: list[Job] = []

    def endpoints(self) -> Mapping[str, Endpoint]:
        """The POST endpoints by path."""
        return {
            "/users/export/segment": Endpoint("users.export.segment", "shared", self._segment),
            "/users/export/global_control_group": Endpoint(
                "users.export.global_control_group", "shared", self._global_control_group
            ),
            "/users/export/ids": Endpoint("users.export.ids", "export_ids", self._ids),
            "/export/segment/cancel": Endpoint("segments.list", "shared", self._cancel),
        }

    def close(self) -> None:
        """Stop all jobs and remove their files."""
        for job in self.jobs:
            job.cancel()
        for job in self.jobs:
            job.done.wait(5)
        self._folder.cleanup()

    def _segment(self, workspace: "Workspace", params: Params) -> Answer:
        segment = found(workspace.segments, params, "segment_id", "Segment")
        return self._start(segment, segment.id, params)

    def _global_control_group(self, workspace: "Workspace", params: Params) -> Answer:
        return self._start(None, workspace.maker.id("global_control_group"), params)

    def _start(self, segment: Segment | None, group_id: str, params: Params) -> Answer:
        fields = _fields(params)
        attributes = params.get("custom_attributes_to_export", []) if segment else []
        if not isinstance(attributes, list) or len(attributes) > 500:
            raise BadRequest("custom_attributes_to_export must be an array of at most 500 names")
        output = params.get("output_format", self._workspace.options.output_format)
        if output not in ("zip", "gzip"):
            raise BadRequest("output_format must be zip or gzip")
        running = [job for job in self.jobs if job.running]
        if any(job.order.group_id == group_id for job in running):
            raise Refusal(429, "An export of this segment is already running")
        if len(running) >= MOST_AT_ONCE:
            raise Refusal(429, f"There are already {MOST_AT_ONCE} segment exports running")
        now = self._workspace.now()
        order = Order(
            group_id=group_id,
            segment=segment,
            fields=tuple(fields),
            custom_attributes=tuple(attributes),
            gzip=output == "gzip",
            prefix=f"{uuid4()}-{int(now.timestamp())}",
        )
        job = Job(self._workspace, order, Path(self._folder.name))
        self.jobs.append(job)
        job.start()
        url = f"{self.base_url}/_storage/{job.token}" if job.path else None
        return success({"object_prefix": order.prefix, "url": url}, 201)

    def _cancel(self, workspace: "Workspace", params: Params) -> Answer:
        segment = found(workspace.segments, params, "segment_id", "Segment")
        for job in self.jobs:
            if job.order.group_id == segment.id and job.running:
                job.cancel()
        return success({}, 201)

    def _ids(self, workspace: "Workspace", params: Params) -> Answer:
        renderer = Renderer(workspace, [field for field in _fields(params) if field != "created_from"])
        whole, asked = Renderer(workspace), _identifiers(params)
        numbers: dict[int, None] = {}
        unknown = []
        for key, value in asked:
            matches = find(workspace, whole, key, value)
            numbers |= dict.fromkeys(matches)
            if not matches:
                unknown.append(value)
        users = b",".join(map(renderer.line, numbers))
        invalid = b',"invalid_user_ids":' + orjson.dumps(unknown) if unknown else b""
        return Answer(b'{"users":[%b]%b,"message":"success"}' % (users, invalid), 201)

    async def download(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET an archive as from S3: 403 until it is ready and once it has expired; no foreign authorization."""
        token = request.path.removeprefix("/_storage/")
        job = next((job for job in self.jobs if job.token == token), None)
        if "Authorization" in request.headers:
            return _s3_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        if job is None or job.path is None or not job.ready:
            return _s3_error(403, "AccessDenied", "Access Denied")
        if job.age() > self._workspace.options.export_lifetime:
            job.path.unlink(missing_ok=True)
            return _s3_error(403, "ExpiredToken", "The provided token has expired.")
        cut = self._workspace.options.cut_download_at
        if cut is not None and request.method == "GET" and "Range" not in request.headers:
            self._workspace.set_options(cut_download_at=None)
            return await _cut(request, job.path, cut)
        return web.FileResponse(job.path)


def _fields(params: Params) -> list[str]:
    fields = params.get("fields_to_export")
    if not isinstance(fields, list) or not fields:
        raise BadRequest("fields_to_export is required and must be an array")
    unknown = [field for field in fields if field not in FIELDS]
    if unknown:
        raise BadRequest(f"fields_to_export contains invalid fields: {', '.join(map(str, unknown))}")
    return fields


def _identifiers(params: Params) -> list[tuple[str, Any]]:
    external, aliases = params.get("external_ids", []), params.get("user_aliases", [])
    if not isinstance(external, list) or not isinstance(aliases, list):
        raise BadRequest("external_ids and user_aliases must be arrays")
    if len(external) + len(aliases) > MOST_IDS:
        raise BadRequest("max number of external_ids and aliases/ids per request was exceeded")
    asked = [("external_id", value) for value in external] + [("user_alias", value) for value in aliases]
    single = [(key, params[name]) for name, key in _SINGLE.items() if name in params]
    if not asked and not single:
        raise BadRequest("At least one user identifier is required")
    if len(single) > 1:
        raise BadRequest("Only one of device_id, braze_id, email_address and phone may be given")
    return asked + single


def _s3_error(status: int, code: str, text: str) -> web.Response:
    return web.Response(text=_S3_ERROR.format(code=code, text=text), status=status, content_type="application/xml")


async def _cut(request: web.BaseRequest, path: Path, size: int) -> web.StreamResponse:
    """Send the headers of the whole file and its first bytes, then drop the connection."""
    response = web.StreamResponse(headers={"Accept-Ranges": "bytes"})
    response.content_length = path.stat().st_size
    await response.prepare(request)
    with path.open("rb") as file:
        await response.write(file.read(size))
    if request.transport:
        request.transport.close()
    return response
