"""Sixty nights in which everything happens, at random but the same every time; at the end the sums are right."""

import random
from datetime import date, timedelta
from datetime import time as wall_time

from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import NONE_OPEN, SERIES, Nights, differences

TODAY = date(2026, 2, 20)
NIGHTS = 60
SEED = 1
ONE_DAY = timedelta(days=1)
FAULTS = ("500", "502", "503", "reset", "truncated")
DISTORTIONS = ("missing_days", "shuffled_days", "duplicate_rows", "missing_keys")
SIZES = {"campaigns": 5, "canvases": 2, "segments": 2, "cards": 1, "events": 2, "products": 1, "users": 1, "days": 45}


class Fate:
    """What happens to the workspace between two nights."""

    def __init__(self, sandbox: Sandbox, seed: int) -> None:
        self._sandbox = sandbox
        self._workspace = sandbox.workspace
        self._random = random.Random(seed)
        self.vanished: set[str] = set()

    def strike(self, today: date) -> None:
        """Something of everything, each with its own chance."""
        chance, workspace = self._random.random, self._workspace
        self._sandbox.mend()
        standing = chance() < 0.15
        self._sandbox.set(
            today=today,
            time_of_day=wall_time(self._random.randrange(24), self._random.randrange(60)),
            fault_rate=self._random.choice([0, 0, 0.05, 0.15]),
            fault_kinds=FAULTS,
            frozen_on=(workspace.options.frozen_on or today) if standing else None,
            denied=frozenset(
                {self._random.choice(["kpi.dau.data_series", "sessions.data_series"])} if chance() < 0.1 else ()
            ),
        )
        if chance() < 0.3:
            self._sandbox.fail(self._random.choice(["*", "/campaigns/details"]), self._random.choice(FAULTS), times=8)
        if chance() < 0.2:
            self._sandbox.fail("*", self._random.choice(DISTORTIONS), times=6)
        if chance() < 0.5:
            self._restate(today)
        if chance() < 0.08:
            workspace.add("campaign", live_from=today - self._random.randrange(20) * ONE_DAY)
        if chance() < 0.05:
            workspace.add("canvas", live_from=today - self._random.randrange(10) * ONE_DAY)
        if chance() < 0.15:
            self._change(today)
        if chance() < 0.04 and len(workspace.campaigns) > 4:
            gone = self._random.choice(list(workspace.campaigns))
            self.vanished.add(gone)
            workspace.remove("campaign", gone)

    def _restate(self, today: date) -> None:
        target, counter = self._random.choice(
            [("kpi", "dau"), ("sessions", "sessions"), ("purchases", "quantity"), (self._active(), "unique_recipients")]
        )
        age = self._random.randrange(1, 26)
        self._workspace.restate(target, today - age * ONE_DAY, **{counter: self._random.randrange(1, 9)})

    def _change(self, today: date) -> None:
        campaign = self._workspace.campaigns[self._active()]
        last = campaign.activity.spans[-1][1]
        match self._random.choice(["archive", "sleep", "wake"]):
            case "archive":
                self._workspace.update("campaign", campaign.id, archived=not campaign.archived)
            case "sleep" if last is None and campaign.activity.spans[-1][0] < today.toordinal():
                self._workspace.stop("campaign", campaign.id, today)
            case "wake" if last is not None and last < today.toordinal():
                self._workspace.wake("campaign", campaign.id, today)

    def _active(self) -> str:
        return self._random.choice([c.id for c in self._workspace.campaigns.values() if c.activity.spans])


def test_sixty_nights() -> None:
    with Sandbox(WorkspaceOptions(today=TODAY, **SIZES)) as sandbox:
        nights, fate, failed = Nights(sandbox, backoff=0.003), Fate(sandbox, SEED), 0
        for night in range(NIGHTS):
            fate.strike(TODAY + night * ONE_DAY)
            if night % 9 != 8:  # nobody ran it
                failed += bool(nights.night(select=SERIES).failures)
        sandbox.mend()
        sandbox.set(fault_rate=0, frozen_on=None, denied=frozenset())
        for night in range(NIGHTS, NIGHTS + 7):  # within a week every entity at rest is asked again
            last = nights.night(TODAY + night * ONE_DAY, select=SERIES)
            assert last.failures == []
        assert failed > 5
        assert nights.open == NONE_OPEN
        totals = sandbox.totals(sandbox.workspace.opened, sandbox.workspace.now().date())
        loaded = {
            name: [row for row in rows if row.get("campaign_id") not in fate.vanished]
            for name, rows in nights.tables.items()
        }
        assert differences(totals, loaded) == {}
