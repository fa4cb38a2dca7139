"""What happened in a run: progress, failures, what the key may not use, and what of earlier failures is mended."""

import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus

from sources.braze.endpoints import Endpoint
from sources.braze.errors import (
    BadAnswer,
    BrazeError,
    ConfigurationError,
    InvalidKey,
    NotAvailable,
    PermissionDenied,
    Stopped,
)
from sources.braze.failures import ALWAYS, Failure, OpenFailures
from sources.braze.model import ALL
from sources.braze.planning import Calendar
from sources.braze.standstill import Standstill
from sources.braze.windows import Span, Unit

FAILURES_IN_A_ROW = 20
"""Entities of one resource that may fail one after the other before the rest of it is left for the next run."""
_LONG_ENOUGH = 2_000
"""Characters of a message to which nothing more is added."""
OPTIONAL = frozenset({"cards", "card_series"})
"""Newer workspaces have no News Feed: that it is not there is no failure."""


@dataclass
class Progress:
    """How far a resource is: requests known so far, answered, and entities that failed.

    During the `listing` of its entities, which goes on as fast as they are asked for, more requests are to come.
    """

    known: int = 0
    done: int = 0
    failed: int = 0
    listing: bool = False


class Record:
    """The bookkeeping of one run; used from the event loop, read from elsewhere.

    `open_failures` are those of earlier runs, `failures` those of this one. `denied` are endpoints that the key may not
    use; `refused` is a 401 that may yet turn out to be about the key as a whole.
    """

    def __init__(self, run_id: str, calendar: Calendar) -> None:
        self.open_failures = OpenFailures()
        self.failures: list[Failure] = []
        self.progress: dict[str, Progress] = defaultdict(Progress)
        self.denied: set[Endpoint] = set()
        self.refused: InvalidKey | None = None
        self.standstills: dict[tuple[str, Endpoint, Unit], Standstill] = defaultdict(Standstill)
        self.asked: dict[str, set[str]] = defaultdict(set)
        self._run_id = run_id
        self._calendar = calendar
        self._began = time.monotonic()
        self._in_a_row: Counter[str] = Counter()
        self._places: dict[tuple[str, str, Span, str], int] = {}

    async def guard(self, resources: Sequence[str], work: Awaitable[None]) -> None:
        """Await `work`; what fails it as a whole fails `resources`, and nothing else."""
        try:
            await work
        except InvalidKey as error:
            self.refused = error
            if not set(resources) <= OPTIONAL:
                self._fail_all(resources, PermissionDenied(endpoint_of(error), HTTPStatus.UNAUTHORIZED, error.detail))
        except ConfigurationError:
            raise
        except Stopped:
            pass
        except (NotAvailable, PermissionDenied) as error:
            if not set(resources) <= OPTIONAL:
                self._fail_all(resources, error)
        except BrazeError as error:
            self._fail_all(resources, error)

    @contextmanager
    def listing(self, resources: Iterable[str]) -> Iterator[None]:
        """Note for the block that the entities of `resources` are being listed."""
        progress = [self.progress[resource] for resource in resources]
        for one in progress:
            one.listing = True
        try:
            yield
        finally:
            for one in progress:
                one.listing = False

    def _fail_all(self, resources: Iterable[str], error: BrazeError) -> None:
        for resource in resources:
            self.fail(resource, ALL, None, error)

    def fail(self, resource: str, entity_id: str, span: Span | None, error: BrazeError, unit: Unit = Unit.DAY) -> None:
        """Record that `entity_id` could not be loaded by `unit` for the days of `span` (None: no days were asked for).

        What fails in several ways is one failure that names them all.
        """
        days = span or Span(self._calendar.today, self._calendar.today)
        failure = Failure(
            run_id=self._run_id,
            resource=resource,
            entity_id=entity_id,
            start_date=days.first,
            end_date=days.last,
            endpoint=error.endpoint.path if error.endpoint else ALL,
            status=error.status,
            message=str(error),
            failed_at=self._calendar.now + timedelta(seconds=time.monotonic() - self._began),
            units=(unit,),
        )
        place = self._places.setdefault((resource, entity_id, days, failure.endpoint), len(self.failures))
        if place == len(self.failures):
            self.progress[resource].failed += 1
            self.failures.append(failure)
            return
        before = self.failures[place]
        if unit not in before.units:
            before = replace(before, units=(*before.units, unit))
        if failure.message not in before.message and len(before.message) < _LONG_ENOUGH:
            before = replace(before, message=f"{before.message} {failure.message}")
        self.failures[place] = before

    def fail_absent(
        self, resource: str, entity_id: str, absent: Span, endpoint: Endpoint, unit: Unit = Unit.DAY
    ) -> None:
        """Record that an answer lacks closed days, also when asked for again."""
        detail = f"the days {absent.first} to {absent.last} are missing in it, also when asked again"
        self.fail(resource, entity_id, absent, BadAnswer(endpoint, entity_id, HTTPStatus.OK, detail), unit)

    def fail_standstill(self, resource: str, endpoint: Endpoint, unit: Unit) -> None:
        """Record what lacks its latest days: one failure for the resource if it is many entities, else one each."""
        standstill = self.standstills[resource, endpoint, unit]
        for absent, entity_ids in standstill.entities():
            if standstill.is_general(absent):
                sentence = (
                    f"The figures of {len(entity_ids):,} entities end before {absent.first}: Braze has not come"
                    " further yet. The next run asks again."
                )
                self.fail(resource, ALL, absent, BrazeError(sentence, endpoint=endpoint, status=HTTPStatus.OK), unit)
            else:
                for entity_id in entity_ids:
                    self.fail_absent(resource, entity_id, absent, endpoint, unit)

    def deny(self, resource: str, error: BrazeError) -> None:
        """Record that the key may not use an endpoint: it is not asked again in this run."""
        endpoint = endpoint_of(error)
        if isinstance(error, InvalidKey):
            self.refused = error
            error = PermissionDenied(endpoint, HTTPStatus.UNAUTHORIZED, error.detail)
        if endpoint not in self.denied:
            self.denied.add(endpoint)
            self.fail(resource, ALL, None, error)

    def fail_entity(
        self, resource: str, entity_id: str, span: Span | None, error: BrazeError, unit: Unit = Unit.DAY
    ) -> None:
        """Record that `entity_id` failed; if too many did one after the other, once for the resource instead."""
        if error.status and error.status < HTTPStatus.TOO_MANY_REQUESTS:
            self._in_a_row[resource] = 0  # an answer about this one entity
        elif self.given_up(resource):
            return
        else:
            self._in_a_row[resource] += 1
        self.fail(resource, entity_id, span, error, unit)
        if self.given_up(resource):
            sentence = (
                f"{FAILURES_IN_A_ROW} requests for {resource} failed one after the other: the rest is left for the"
                f" next run. The latest: {error}"
            )
            self.fail(resource, ALL, None, BrazeError(sentence, endpoint=error.endpoint, status=error.status))

    def went_well(self, resource: str) -> None:
        """Count an entity that was answered."""
        self._in_a_row[resource] = 0

    def given_up(self, resource: str) -> bool:
        """Whether too many entities of `resource` failed one after the other."""
        return self._in_a_row[resource] >= FAILURES_IN_A_ROW

    def mend(self, resource: str, entity_id: str, span: Span = ALWAYS, units: Iterable[Unit] = tuple(Unit)) -> None:
        """Note that `span` of an entity that had failed earlier is loaded by `units` now, `denied` endpoints aside."""
        denied = [endpoint.path for endpoint in self.denied]
        self.open_failures.loaded(resource, entity_id, span, units, denied)


def endpoint_of(error: BrazeError) -> Endpoint:
    """The endpoint that an error from the client names."""
    assert error.endpoint
    return error.endpoint
