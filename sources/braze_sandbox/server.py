"""The HTTP side: access, limits, latency and faults around the endpoints, and the control and storage paths."""

import asyncio
import socket
import struct
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
from aiohttp import web

from sources.braze_sandbox.answers import Answer
from sources.braze_sandbox.endpoints import GET, Endpoint
from sources.braze_sandbox.errors import BadRequest, NotFound, Refusal
from sources.braze_sandbox.faults import DISTORTIONS, STATUSES, Rule
from sources.braze_sandbox.request_log import Asked

if TYPE_CHECKING:
    from sources.braze_sandbox.sandbox import Sandbox

_MESSAGES = {
    400: "Invalid parameter",
    403: "Access Denied",
    404: "Invalid URL",
    429: "Rate limit exceeded",
    500: "Internal server error",
}
_NO_LIMITS = {"X-RateLimit-Limit": "", "X-RateLimit-Remaining": "", "X-RateLimit-Reset": ""}

Params = Mapping[str, Any]


class Server:
    """Answers the requests to one sandbox."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self._sandbox = sandbox
        self._workspace = sandbox.workspace
        self._posts = sandbox.exports.endpoints()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer any request."""
        path = request.path
        if path.startswith("/_sandbox/"):
            return await self._control(request)
        if path.startswith("/_storage/"):
            return await self._storage(request)
        self._sandbox.log.begin(path)
        status, fault, params = 0, None, {}
        arrived = asyncio.get_running_loop().time()
        try:
            params = await _params(request)
            fault, distortions = self._faults(path, params)
            answer = self._answer(request, params, fault)
            if distortions and answer.status < 300:
                answer = _distorted(answer, distortions)
            await self._delay(arrived, fault)
            response = await self._send(request, answer, fault)
            status = 0 if fault in ("reset", "truncated") else answer.status
            return response
        finally:
            self._sandbox.log.end(Asked(request.method, path, params, status, fault))

    async def _storage(self, request: web.BaseRequest) -> web.StreamResponse:
        self._sandbox.log.begin("/_storage")
        response: web.StreamResponse | None = None
        try:
            response = await self._sandbox.exports.download(request)
            return response
        finally:
            status = response.status if response else 0
            params = {"range": request.headers.get("Range")}
            self._sandbox.log.end(Asked(request.method, "/_storage", params, status, None))

    def _faults(self, path: str, params: Params) -> tuple[str | None, list[Rule]]:
        fault, distortions = self._sandbox.faults.pick(path, params)
        options = self._workspace.options
        return fault or self._sandbox.faults.chance(options.fault_rate, options.fault_kinds), distortions

    async def _delay(self, arrived: float, fault: str | None) -> None:
        """Wait until the latency is over, which the work on the answer is a part of."""
        options = self._workspace.options
        latency = options.latency + (options.slow_seconds if fault == "slow" else 0)
        if latency:
            await asyncio.sleep(arrived + latency - asyncio.get_running_loop().time())

    def _answer(self, request: web.BaseRequest, params: Params, fault: str | None) -> Answer:
        options = self._workspace.options
        if fault in STATUSES:
            return _fault_answer(int(fault))
        headers: dict[str, str] = {}
        try:
            endpoint = self._endpoint(request)
            self._admit(request, endpoint, headers)
            allowance = self._sandbox.limiter.take(endpoint.pool, options.limit(endpoint.pool))
            headers |= allowance.headers()
            if not allowance.granted:
                raise Refusal(429, _MESSAGES[429])
            if request.method == "POST" and "_" in params and params["_"] is None:
                raise BadRequest("The body must be a JSON object")
            self._sandbox.exports.base_url = f"http://{request.host}"
            answer = endpoint.answer(self._workspace, params)
        except Refusal as refusal:
            return Answer(orjson.dumps({"message": refusal.message}), refusal.status, headers)
        return Answer(answer.body, answer.status, {**headers, **answer.headers})

    def _endpoint(self, request: web.BaseRequest) -> Endpoint:
        endpoints = self._posts if request.method == "POST" else GET
        if request.method not in ("GET", "POST") or request.path not in endpoints:
            raise NotFound
        return endpoints[request.path]

    def _admit(self, request: web.BaseRequest, endpoint: Endpoint, headers: dict[str, str]) -> None:
        options = self._workspace.options
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer" or not key or (options.api_key is not None and key != options.api_key):
            headers |= _NO_LIMITS
            raise Refusal(401, f"Invalid API key: {key}")
        if endpoint.permission in options.denied:
            headers |= _NO_LIMITS if options.denied_status == 401 else {}
            message = f"Invalid API key: {key}" if options.denied_status == 401 else _MESSAGES[403]
            raise Refusal(options.denied_status, message)
        if request.method == "POST" and request.content_type != "application/json":
            raise Refusal(415, "Content-Type must be application/json")

    async def _send(self, request: web.BaseRequest, answer: Answer, fault: str | None) -> web.StreamResponse:
        headers = {"X-Request-Id": uuid4().hex, **answer.headers}
        body = b"<html>502</html>" if fault == "not_json" else answer.body
        if fault not in ("reset", "truncated"):
            return web.Response(body=body, status=answer.status, headers=headers, content_type="application/json")
        response = web.StreamResponse(status=answer.status, headers=headers)
        response.content_type = "application/json"
        response.content_length = len(body)
        if fault == "truncated":
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        abort(request, graceful=fault == "truncated")
        return response

    async def _control(self, request: web.BaseRequest) -> web.Response:
        params = dict(request.query)
        if request.method == "POST" and request.can_read_body:
            params |= orjson.loads(await request.read())
        try:
            result = self._sandbox.command(request.path.removeprefix("/_sandbox/"), params)
        except (KeyError, TypeError, ValueError) as error:
            return web.Response(body=orjson.dumps({"error": repr(error)}), status=400)
        return web.Response(body=orjson.dumps(result), content_type="application/json")


async def _params(request: web.BaseRequest) -> dict[str, Any]:
    """The query of a GET, the JSON object of a POST; a body that is none is the value None under `_`."""
    if request.method != "POST":
        return dict(request.query)
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        body = None
    return body if isinstance(body, dict) else {"_": None}


def _fault_answer(status: int) -> Answer:
    body = orjson.dumps({"message": _MESSAGES.get(status, _MESSAGES[500])})
    if status != 429:
        return Answer(body, status)
    reset = {
        "X-RateLimit-Limit": "250000",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str(int(time.time()) + 1),
    }
    return Answer(body, status, reset)


def _distorted(answer: Answer, rules: list[Rule]) -> Answer:
    body = orjson.loads(answer.body)
    for rule in rules:
        DISTORTIONS[rule.kind](body, rule)
    return Answer(orjson.dumps(body), answer.status, answer.headers)


def abort(request: web.BaseRequest, graceful: bool) -> None:
    """End the connection: with what was written sent off first, or by a reset."""
    transport = request.transport
    if transport is None:
        return
    if graceful:
        transport.close()
    else:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
