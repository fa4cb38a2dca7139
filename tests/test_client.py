"""The client against a real HTTP server."""

import asyncio
import gzip
import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sources.braze.client import ATTEMPTS, REFUSALS, Client
from sources.braze.endpoints import (
    CAMPAIGNS_DATA_SERIES,
    CAMPAIGNS_DETAILS,
    CAMPAIGNS_LIST,
    EVENTS_DATA_SERIES,
    EXPORT_SEGMENT_CANCEL,
    KPI_DAU,
    KPI_MAU,
    USERS_EXPORT_IDS,
    USERS_EXPORT_SEGMENT,
    Json,
    Param,
)
from sources.braze.errors import (
    BadAnswer,
    BrazeError,
    ConfigurationError,
    ExportRunning,
    InvalidKey,
    NotAvailable,
    PermissionDenied,
    Stopped,
    UnknownEntity,
    Unreachable,
)
from sources.braze.rate_limits import RateLimits
from tests.lanes import places
from tests.loopback import Loopback, Received, Reply, script

KEY = "3f1c0d5e-0000-4444-8888-aaaabbbbcccc"
OK = Reply()


def client_of(url: str, **settings: Any) -> Client:
    limits = RateLimits(0, jitter=0.01, backoff=0.01)
    return Client(url, KEY, **{"backoff": 0.01, "limits": limits, **settings})


def ask(
    answer: Callable[[Received], Reply], work: Callable[[Client], Awaitable[Any]], **settings: Any
) -> tuple[Any, Client, Loopback]:
    """Run `work(client)` against a server that answers with `answer`."""

    async def session(url: str) -> tuple[Any, Client]:
        client = client_of(url, **settings)
        try:
            return await work(client), client
        finally:
            await client.aclose()

    with Loopback(answer) as server:
        return *asyncio.run(session(server.url)), server


async def get_list(client: Client) -> Json:
    return await client.get(CAMPAIGNS_LIST, {"page": 0})


def failure(answer: Callable[[Received], Reply], work: Callable[[Client], Awaitable[Any]] = get_list) -> Any:
    """Return the error that `work` ends in, together with the client and the server."""

    async def caught(client: Client) -> BrazeError:
        with pytest.raises(BrazeError) as raised:
            await work(client)
        return raised.value

    return ask(answer, caught)


def test_key_goes_into_the_header_only() -> None:
    body, _, server = ask(script(OK), get_list)
    (request,) = server.received
    assert body == {"message": "success"}
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.path == "campaigns/list"
    assert KEY not in request.target
    assert request.method == "GET"
    assert request.body == b""


def test_a_netrc_entry_does_not_replace_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    _, _, server = ask(script(OK), get_list)
    assert server.received[0].headers["Authorization"] == f"Bearer {KEY}"


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Loopback(script(OK)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        client = client_of("http://braze.invalid")
        asyncio.run(get_list(client))
    assert proxy.received[0].target == "http://braze.invalid/campaigns/list?page=0"


def test_parameters_arrive_as_they_were_meant() -> None:
    name = "Käufe & mehr + 100% / é?=#☀️"
    params: dict[str, Param] = {
        "event": name,
        "length": 7,
        "ending_at": "2026-09-01T00:00:00+02:00",
        "last_edit.time[gt]": "2026-01-01T00:00:00",
        "include_archived": True,
        "flag": False,
        "app_id": None,
    }
    _, _, server = ask(script(OK), lambda client: client.get(EVENTS_DATA_SERIES, params))
    (request,) = server.received
    assert request.query == {
        "event": [name],
        "length": ["7"],
        "ending_at": ["2026-09-01T00:00:00+02:00"],
        "last_edit.time[gt]": ["2026-01-01T00:00:00"],
        "include_archived": ["true"],
        "flag": ["false"],
    }
    assert "%5Bgt%5D" in request.target


def test_then_runs_in_a_worker_thread_and_its_result_is_returned() -> None:
    def shape(payload: Json) -> tuple[str, str]:
        return payload["message"], threading.current_thread().name

    result, _, _ = ask(script(OK), lambda client: client.get(CAMPAIGNS_LIST, {}, shape))
    assert result[0] == "success"
    assert result[1].startswith("braze")


def test_what_then_raises_is_the_callers_and_not_tried_again() -> None:
    async def work(client: Client) -> None:
        with pytest.raises(KeyError, match="no_such_key"):
            await client.get(CAMPAIGNS_LIST, {}, lambda payload: payload["no_such_key"])

    _, client, server = ask(script(OK), work)
    assert len(server.received) == 1
    assert client.traffic.succeeded == 1


def test_post_sends_json_and_takes_201() -> None:
    body = {"segment_id": "s1", "fields_to_export": ["braze_id"]}
    answer = {"message": "success", "url": None}
    result, _, server = ask(script(Reply(201, answer)), lambda client: client.post(USERS_EXPORT_SEGMENT, body))
    (request,) = server.received
    assert result == answer
    assert request.method == "POST"
    assert request.headers["Content-Type"] == "application/json"
    assert json.loads(request.body) == body


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply(400, {"message": "campaign_id is unknown"}), UnknownEntity, "campaign_id c1"),
        (Reply(401, {"message": f"Invalid API key: {KEY}"}), InvalidKey, "`endpoint`"),
        (Reply(403, {"message": "Access Denied"}), PermissionDenied, "campaigns.details"),
        (Reply(403, {"message": "Forbidden"}), PermissionDenied, "the account is inactive"),
        (Reply(403, {"message": "Forbidden"}), PermissionDenied, "campaigns.details"),
        (
            Reply(404, {"message": "Not found"}),
            NotAvailable,
            "no campaigns/details for campaign_id c1 (404: Not found)",
        ),
        (Reply(418, {"message": "I am a teapot"}), BadAnswer, "418: I am a teapot"),
    ],
)
def test_each_refusal_has_its_error_and_is_not_tried_again(reply: Reply, kind: type[BrazeError], words: str) -> None:
    error, _, server = failure(script(reply), lambda client: client.get(CAMPAIGNS_DETAILS, {"campaign_id": "c1"}))
    assert type(error) is kind
    assert words in str(error)
    assert error.endpoint is CAMPAIGNS_DETAILS
    assert error.status == reply.status
    assert len(server.received) == 1


@pytest.mark.parametrize(
    ("errors", "words"),
    [
        ([{"id": "invalid-cursor", "message": "'cursor' is not valid"}], "Invalid Request: 'cursor' is not valid"),
        ([{"id": "invalid-cursor"}, "and more."], "Invalid Request: invalid-cursor, and more"),
        ([f"the key {KEY}"], "Invalid Request: the key [redacted]"),
        ("one text", "Invalid Request: one text"),
        ([None, {}, ""], "Invalid Request"),
        (None, "Invalid Request"),
    ],
)
def test_errors_beside_the_message_are_told(errors: Any, words: str) -> None:
    error, _, _ = failure(script(Reply(400, {"message": "Invalid Request", "errors": errors})))
    assert error.detail == words


def test_401_echo_of_the_key_is_redacted() -> None:
    error, _, _ = failure(script(Reply(401, {"message": f"Invalid API key: {KEY}"})))
    assert error.detail == "Invalid API key: [redacted]"
    assert KEY not in str(error)


def test_401_after_a_success_is_a_missing_permission() -> None:
    async def work(client: Client) -> None:
        await client.get(CAMPAIGNS_LIST, {})
        await client.get(KPI_DAU, {"length": 3})

    error, client, _ = failure(script(OK, Reply(401, {"message": f"Invalid API key: {KEY}"})), work)
    assert type(error) is PermissionDenied
    assert "kpi.dau.data_series" in str(error)
    assert KEY not in str(error)
    assert client.traffic.succeeded == 1


TRUNCATED_GZIP = gzip.compress(b'{"message": "success", "data": [1, 2, 3]}')[:-12]

PASSING = {
    "500": Reply(500, {"message": "oops"}),
    "502 in HTML": Reply(502, b"<html>Bad gateway</html>"),
    "503": Reply(503, b""),
    "reset": Reply(reset=True),
    "truncated": Reply(body={"message": "success", "data": [1, 2, 3]}, cut=True),
    "truncated gzip": Reply(body=TRUNCATED_GZIP, headers={"Content-Encoding": "gzip"}),
    "not gzip": Reply(body=b"abc", headers={"Content-Encoding": "gzip"}),
    "not JSON": Reply(body=b'{"message": "succ'),
    "empty": Reply(body=b""),
    "not an object": Reply(body=[1, 2]),
}


@pytest.mark.parametrize("passing", PASSING.values(), ids=PASSING.keys())
def test_passing_problems_are_tried_again(passing: Reply) -> None:
    result, client, server = ask(script(passing, passing, OK), get_list)
    assert result == {"message": "success"}
    assert len(server.received) == 3
    assert (client.traffic.requests, client.traffic.retries, client.traffic.succeeded) == (3, 2, 1)


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("500", 500, "500: oops"),
        ("503", 503, "503: Service Unavailable"),
        ("reset", None, "reset by peer"),
        ("truncated", None, "more expected"),
        ("not an object", 200, "not a JSON object"),
    ],
)
def test_lasting_problems_end_after_six_attempts(name: str, status: int | None, words: str) -> None:
    error, client, server = failure(script(PASSING[name]))
    assert type(error) is BadAnswer
    assert error.status == status
    assert words in error.detail
    assert words in str(error)
    assert len(server.received) == ATTEMPTS == 6
    assert client.traffic.retries == ATTEMPTS - 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (rb"half an emoji \ud83d", "half an emoji \ufffd"),
        (rb"\udca9 the other half", "\ufffd the other half"),
        (rb"a whole one \uD83D\uDCA9", "a whole one 💩"),
        (rb"two halves \ud83d\ud83d\udca9", "two halves \ufffd💩"),
        (rb"a backslash \\ud83d", "a backslash \\ud83d"),
        ("cut off in the middle of é".encode()[:-1], "cut off in the middle of \ufffd"),
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_answer_with_what_is_no_text_is_read(mark: bytes, name: bytes, text: str) -> None:
    result, _, server = ask(script(Reply(body=mark + b'{"name": "' + name + b'"}')), get_list)
    assert result == {"name": text}
    assert len(server.received) == 1


def test_a_time_out_is_tried_again() -> None:
    result, client, _ = ask(script(Reply(delay=0.5), OK), get_list, timeout=(1, 0.1))
    assert result == {"message": "success"}
    assert client.traffic.retries == 1


def test_backing_off_gives_the_lane_up() -> None:
    """With one lane, a request that keeps failing does not hold up the others."""

    def answer(request: Received) -> Reply:
        return Reply(500) if request.query.get("campaign_id") == ["bad"] else OK

    async def work(client: Client) -> list[str]:
        lane, done = asyncio.Semaphore(1), []

        async def one(name: str) -> None:
            async with lane:
                with suppress(BadAnswer):
                    await client.get(CAMPAIGNS_DETAILS, {"campaign_id": name}, lane=lane)
                done.append(name)

        await asyncio.gather(*map(one, ["bad", "a", "b", "c"]))
        assert await places(lane) == 1
        return done

    done, _, server = ask(answer, work, backoff=0.05)
    assert done == ["a", "b", "c", "bad"]
    assert [request.query["campaign_id"][0] for request in server.received[:2]] == ["bad", "a"]


def test_a_cancelled_wait_leaves_the_lane_as_it_was() -> None:
    async def work(client: Client) -> int:
        lane = asyncio.Semaphore(1)

        async def one() -> None:
            async with lane:
                await client.get(CAMPAIGNS_LIST, {}, lane=lane)

        task = asyncio.create_task(one())
        while client.traffic.retries == 0:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await places(lane)

    free, _, _ = ask(script(Reply(500)), work, backoff=30)
    assert free == 1


def test_redirects_are_not_followed() -> None:
    with Loopback(script(OK)) as elsewhere:
        moved = Reply(302, headers={"Location": elsewhere.url + "/campaigns/list?secret=1"})
        error, _, server = failure(script(moved))
    assert type(error) is BadAnswer
    assert "127.0.0.1" in str(error)
    assert "secret" not in str(error)
    assert elsewhere.received == []
    assert len(server.received) == 1


def test_an_unreachable_host_is_named_quickly() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        client = client_of(url)
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1.*Connection refused.*`endpoint`"):
            asyncio.run(get_list(client))
    assert client.traffic.requests == 3


def test_an_unknown_host_is_named() -> None:
    client = client_of("https://rest.braze.invalid")
    with pytest.raises(Unreachable, match=r"rest\.braze\.invalid"):
        asyncio.run(get_list(client))


def test_a_refused_connection_after_the_first_answer_is_an_ordinary_retry() -> None:
    async def work(client: Client, server: Loopback) -> None:
        await get_list(client)
        server.close()
        with pytest.raises(BadAnswer, match="Connection refused"):
            await get_list(client)

    with Loopback(script(Reply(headers={"Connection": "close"}))) as server:
        client = client_of(server.url)
        asyncio.run(work(client, server))
    assert client.traffic.requests == 1 + ATTEMPTS


def reset_in(seconds: float) -> dict[str, str]:
    headers = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0"}
    return {**headers, "X-RateLimit-Reset": str(int(time.time() + seconds) + 1)}


def test_429_waits_for_the_reset() -> None:
    limited = Reply(429, {"message": "Rate limit exceeded"}, reset_in(0.2))
    _, client, server = ask(script(limited, OK), get_list)
    assert time.time() >= float(limited.headers["X-RateLimit-Reset"])
    assert len(server.received) == 2
    assert (client.traffic.refused, client.traffic.retries) == (1, 0)
    assert 0.1 < client.traffic.waited < 1.5


def test_429_waits_for_retry_after() -> None:
    started = time.monotonic()
    ask(script(Reply(429, headers={"Retry-After": "1"}), OK), get_list)
    assert 1 <= time.monotonic() - started < 2


def test_429_of_an_empty_pool_waits_for_the_reset_whatever_retry_after_says() -> None:
    limited = Reply(429, {"message": "Rate limit exceeded"}, {**reset_in(1), "Retry-After": "1"})
    _, client, server = ask(script(*[limited] * 2, OK), get_list)
    assert time.time() >= float(limited.headers["X-RateLimit-Reset"])
    assert client.traffic.refused == len(server.received) - 1 <= 2


@pytest.mark.parametrize("status", [500, 503])
def test_a_failing_server_that_says_when_to_come_back_is_heard(status: int) -> None:
    started = time.monotonic()
    ask(script(Reply(status, headers={"Retry-After": "1"}), OK), get_list)
    assert 1 <= time.monotonic() - started < 3


@pytest.mark.parametrize("status", [401, 403])
def test_an_endpoint_that_was_denied_is_not_asked_again(status: int) -> None:
    async def thrice(client: Client) -> None:
        await client.get(KPI_DAU)
        for _ in range(3):
            with pytest.raises(PermissionDenied):
                await client.get(KPI_MAU)

    def answer(request: Received) -> Reply:
        return Reply(status) if "mau" in request.path else OK

    _, _, server = ask(answer, thrice)
    assert Counter(request.path for request in server.received) == {"kpi/dau/data_series": 1, "kpi/mau/data_series": 1}


def test_429_without_a_time_is_tried_again_a_limited_number_of_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.braze.rate_limits.LONGEST_BACKOFF", 0.02)
    error, client, server = failure(script(Reply(429, {"message": "Rate limit exceeded"})))
    assert type(error) is BadAnswer
    assert error.status == 429
    assert len(server.received) == client.traffic.refused == REFUSALS


def test_429s_do_not_count_as_attempts() -> None:
    limited = Reply(429)
    _, client, _ = ask(script(*[limited, Reply(500)] * 5, OK), get_list)
    assert (client.traffic.refused, client.traffic.retries) == (5, 5)


def start_export(client: Client) -> Awaitable[Json]:
    return client.post(USERS_EXPORT_SEGMENT, {"segment_id": "s1", "fields_to_export": ["braze_id"]})


def test_a_second_export_of_a_segment_is_told_from_the_rate_limit() -> None:
    headers = {**reset_in(1000), "X-RateLimit-Limit": "250000", "X-RateLimit-Remaining": "249000"}
    error, client, server = failure(script(Reply(429, {"message": "Export in progress"}, headers)), start_export)
    assert type(error) is ExportRunning
    assert "segment_id s1" in str(error)
    assert (len(server.received), client.traffic.refused) == (1, 0)


@pytest.mark.parametrize(
    ("message", "headers"),
    [("Conflict", {}), ("An export of this segment is already running", reset_in(1000))],
    ids=["no headers", "words"],
)
def test_a_second_export_is_known_without_figures_of_the_rate_limit(message: str, headers: dict[str, str]) -> None:
    error, client, server = failure(script(Reply(429, {"message": message}, headers)), start_export)
    assert type(error) is ExportRunning
    assert (len(server.received), client.traffic.refused) == (1, 0)


def test_an_export_comes_back_when_it_is_told_to() -> None:
    result, client, _ = ask(script(Reply(429, headers={"Retry-After": "1"}), Reply(201)), start_export)
    assert result == {"message": "success"}
    assert client.traffic.refused == 1


def test_an_export_waits_for_a_real_rate_limit() -> None:
    limited = Reply(429, {"message": "Rate limit exceeded"}, reset_in(0.1))
    result, client, _ = ask(script(limited, Reply(201)), start_export)
    assert result == {"message": "success"}
    assert client.traffic.refused == 1


@pytest.mark.parametrize("name", ["reset", "truncated", "not JSON"])
def test_an_export_whose_answer_was_lost_is_not_started_twice(name: str) -> None:
    error, _, server = failure(script(PASSING[name], Reply(201)), start_export)
    assert type(error) is BadAnswer
    assert len(server.received) == 1


def test_an_export_is_tried_again_after_a_server_error() -> None:
    result, _, server = ask(script(Reply(503), Reply(201)), start_export)
    assert result == {"message": "success"}
    assert len(server.received) == 2


@pytest.mark.parametrize("status", [408, 502])
def test_an_export_is_tried_again_where_braze_has_not_received_it(status: int) -> None:
    _, _, server = ask(script(Reply(status), Reply(201)), start_export)
    assert len(server.received) == 2


@pytest.mark.parametrize("status", [500, 504, 520])
def test_an_export_that_may_run_after_a_server_error_is_not_started_twice(status: int) -> None:
    error, _, server = failure(script(Reply(status, b"<html>"), Reply(201)), start_export)
    assert type(error) is BadAnswer
    assert error.status == status
    assert "; Braze may have started the job all the same" in str(error)
    assert len(server.received) == 1


@pytest.mark.parametrize("endpoint", [USERS_EXPORT_IDS, EXPORT_SEGMENT_CANCEL])
def test_other_posts_are_tried_again(endpoint: Any) -> None:
    _, _, server = ask(script(PASSING["reset"], Reply(201)), lambda client: client.post(endpoint, {}))
    assert len(server.received) == 2


def test_personal_identifiers_do_not_reach_errors_or_logs(caplog: pytest.LogCaptureFixture) -> None:
    echo = "unknown: ada@example.com, alias ada-1"
    body = {
        "external_ids": ["ada@example.com"],
        "user_aliases": [{"alias_name": "ada-1", "alias_label": "shop"}],
    }
    with caplog.at_level(logging.DEBUG):
        error, _, _ = failure(
            script(Reply(201, {"message": "success", "errors": [echo]}), Reply(400, {"message": echo})),
            lambda client: _twice(client, body),
        )
    for text in (str(error), error.detail, caplog.text):
        assert "ada" not in text
    assert "[redacted]" in error.detail
    assert "errors beside the data" in caplog.text


async def _twice(client: Client, body: Json) -> None:
    await client.post(USERS_EXPORT_IDS, body)
    await client.post(USERS_EXPORT_IDS, body)


def test_requests_are_logged_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    reply = Reply(headers={"X-Request-Id": "r-17"})
    with caplog.at_level(logging.DEBUG):
        ask(script(reply), get_list)
    assert "GET campaigns/list: 200" in caplog.text
    assert "r-17" in caplog.text
    assert KEY not in caplog.text


def test_requests_run_side_by_side_and_are_counted() -> None:
    async def work(client: Client) -> float:
        started = time.monotonic()
        await asyncio.gather(*(client.get(CAMPAIGNS_DATA_SERIES, {"campaign_id": n}) for n in range(68)))
        return time.monotonic() - started

    reset = str(int(time.time()) + 1000)
    headers = {"X-RateLimit-Limit": "50000", "X-RateLimit-Remaining": "49000", "X-RateLimit-Reset": reset}
    seconds, client, server = ask(script(Reply(delay=0.1, headers=headers)), work)
    assert 0.5 <= seconds < 1.5  # 4 probes, then 64 requests in 4 rounds of 16
    assert [request.path for request in server.received] == ["campaigns/data_series"] * 68
    assert (client.traffic.requests, client.traffic.retries, client.traffic.succeeded) == (68, 0, 68)
    assert client.traffic.in_flight == 0


@pytest.mark.parametrize("key", ["", "  ", '"quoted"', "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(ConfigurationError, match="api_key") as raised:
        Client("https://rest.iad-01.braze.com", key)
    assert not key.strip() or key not in str(raised.value)


def test_a_key_with_a_stray_newline_works() -> None:
    Client("https://rest.iad-01.braze.com", KEY + "\n")


def test_no_more_requests_are_in_flight_than_wanted() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def answer(_: Received) -> Reply:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.03)
        with lock:
            now -= 1
        return OK

    async def work(client: Client) -> None:
        await asyncio.gather(*(client.get(CAMPAIGNS_DATA_SERIES, {"campaign_id": n}) for n in range(24)))

    ask(answer, work, concurrency=3)
    assert most == 3


def test_the_next_request_leaves_while_an_answer_is_being_read() -> None:
    second_arrived = threading.Event()

    def answer(request: Received) -> Reply:
        if request.query["campaign_id"] == ["2"]:
            second_arrived.set()
        return OK

    async def work(client: Client) -> list[bool]:
        return await asyncio.gather(
            *(
                client.get(CAMPAIGNS_DATA_SERIES, {"campaign_id": n}, then=lambda _: second_arrived.wait(10))
                for n in (1, 2)
            )
        )

    seen, _, _ = ask(answer, work, concurrency=1)
    assert seen == [True, True]


def test_once_answers_have_no_room_only_those_already_handed_over_are_sent() -> None:
    async def work(client: Client) -> int:
        room, loop = asyncio.Event(), asyncio.get_running_loop()
        room.set()
        client.room = room.wait
        tasks = [
            asyncio.create_task(
                client.get(
                    CAMPAIGNS_DATA_SERIES, {"campaign_id": n}, then=lambda _: loop.call_soon_threadsafe(room.clear)
                )
            )
            for n in range(50)
        ]
        await asyncio.wait(tasks, timeout=0.5)
        sent = client.traffic.requests
        client.room = None
        room.set()
        await asyncio.gather(*tasks)
        return sent

    sent, client, _ = ask(script(Reply(delay=0.05)), work, concurrency=2)
    assert 1 <= sent <= 8
    assert client.traffic.requests == 50


def test_who_waits_for_room_is_told_to_stop() -> None:
    async def work(client: Client) -> list[Any]:
        room = asyncio.Event()
        client.room = room.wait
        tasks = [asyncio.create_task(client.get(CAMPAIGNS_DATA_SERIES, {"campaign_id": n})) for n in range(20)]
        await asyncio.sleep(0)
        client.stop()
        room.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    raised, client, _ = ask(script(OK), work, concurrency=2)
    assert {type(error) for error in raised} == {Stopped}
    assert client.traffic.requests == 0
