"""One look at the hub and the units of servers, which becomes a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout
from littlest_hub.service.hub_client import HubClient
from littlest_hub.stacks.stats.hub import ENVIRONMENTS_PATH, FAILURES_PATH, STACK
from littlest_hub.stacks.stats.sampler import metrics
from littlest_hub.stacks.stats.sampler.metrics import Metrics
from littlest_hub.stacks.stats.sampler.units import Measured, Units
from littlest_hub.stacks.stats.store.sample import Failure, Person, Sample, Server
from littlest_hub.stacks.stats.values import Values

WHOLE_S = 900
"""Interval at which all people are listed; in between, only those with a server."""
_METRICS = "metrics"


class Look:
    """Looks at the hub again and again.

    Args:
        hub: the hub.
        layout: its installation.
        memo: what samplers before this one have kept.
    """

    def __init__(self, hub: HubClient, layout: Layout, memo: Mapping[str, str]) -> None:
        self._hub, self._layout = hub, layout
        self._units = Units(layout)
        self._metrics = metrics.from_text(memo.get(_METRICS))
        self._whole_at_s: float | None = None
        self._has_unread_failures = True

    def values(self) -> Values:
        """Return the values of the fragment, which the hub tells.

        Raises:
            LittlestHubError: the hub does not answer.
        """
        return Values.from_json(self._hub.get_json(f"api/services/{STACK}").get("info"))

    def sample(self, time_s: float, now_s: float, covered_s: float) -> Sample:
        """Return a sample.

        Args:
            time_s: the time, in seconds since the epoch.
            now_s: the same on a clock that nobody sets.
            covered_s: the time that the sample stands for.

        Raises:
            LittlestHubError: the hub does not answer.
        """
        is_whole = self._whole_at_s is None or now_s >= self._whole_at_s + WHOLE_S
        people = self._hub.users("" if is_whole else "active")
        found = metrics.parse(self._hub.get("metrics").decode(errors="replace"))
        starts = metrics.between(self._metrics, found)
        if any(each.status != "success" for each in starts):
            self._has_unread_failures = True
        failures = self._failures() if self._has_unread_failures else ()
        # Also without a server: the hub's metric is as of this request.
        environments = self._environments()
        measured = self._units.measure()
        sample = Sample(
            time_s=int(time_s),
            covered_s=covered_s,
            people=[self._person(each, measured, environments) for each in people],
            is_whole=is_whole,
            waiting=found.waiting,
            starts=starts,
            failures=failures,
            memo={_METRICS: metrics.to_text(found)},
        )
        # From here on, nothing fails.
        self._metrics, self._has_unread_failures = found, False
        if is_whole:
            self._whole_at_s = now_s
        return sample

    def again(self, before: Metrics | None) -> None:
        """Count once more what was counted since then: the sample could not be kept."""
        self._metrics, self._has_unread_failures = before, True
        self._whole_at_s = None

    @property
    def counted(self) -> Metrics | None:
        """The hub's counters at the last sample."""
        return self._metrics

    def _failures(self) -> Sequence[Failure]:
        answer = self._hub.get_json(FAILURES_PATH)
        try:
            return [
                Failure(str(e["name"]), int(e["time_us"]), str(e["reason"]), str(e["meaning"]))
                for e in answer["failures"] or ()
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise LittlestHubError("the hub's list of failures has another format") from error

    def _environments(self) -> dict[str, dict[str, str]]:
        """Return names of environments by person and server; others have the hub's own."""
        answer = self._hub.get_json(ENVIRONMENTS_PATH)
        try:
            return {
                user: {str(server): str(name) for server, name in servers.items()}
                for user, servers in answer["environments"].items()
            }
        except (KeyError, TypeError, AttributeError) as error:
            raise LittlestHubError("the hub's list of environments has another format") from error

    def _person(
        self,
        model: Mapping[str, Any],
        measured: Mapping[str, Measured],
        environments: Mapping[str, Mapping[str, str]],
    ) -> Person:
        name = str(model["name"])
        own = environments.get(name, {})
        servers = model.get("servers") or {}
        return Person(
            name,
            str(model.get("created") or ""),
            frozenset(map(str, model.get("groups") or ())),
            _seconds(model.get("last_activity")),
            [self._server(name, each, measured, own) for each in servers.values()],
        )

    def _server(
        self,
        user: str,
        model: Mapping[str, Any],
        measured: Mapping[str, Measured],
        environments: Mapping[str, str],
    ) -> Server:
        name = str(model.get("name") or "")
        use = measured.get(self._layout.user_unit(user, name), Measured())
        return Server(
            bool(model.get("ready")), use.memory_bytes, use.cpu_ms, environments.get(name, "")
        )


def _seconds(text: object) -> float:
    """Return a time of JupyterHub's API in seconds since the epoch; 0: there is none."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0
