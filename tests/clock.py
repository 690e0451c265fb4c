"""The clock of a virtual machine, which a test moves from day to day.

systemd then starts what has become due (systemd.timer(5), OnCalendar=). The kernel's other clock,
which counts from the boot, cannot be set: what waits by that one takes its real time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from tests.eventually import eventually
from tests.server import Server

# With a random delay, a timer whose time is over waits again, by the clock that cannot be set.
WITHOUT_DELAYS = "[Timer]\nRandomizedDelaySec=0\nAccuracySec=1s\n"
WITHOUT_DELAYS_FILE = "/etc/systemd/system/timer.d/at-once.conf"
_ENDED = ("inactive", "failed")


@dataclass(frozen=True)
class Run:
    """The last run of a unit."""

    id: str
    state: str
    result: str


class Clock:
    """The clock of a machine; day 0 is the one on which this object was made.

    Args:
        server: a machine with a kernel of its own, and no time server.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._first = self.now().date()

    def now(self) -> datetime:
        """Return the time on the machine."""
        return datetime.fromtimestamp(int(self._server.run(["date", "+%s"]).stdout), UTC)

    def time(self, day: int, hour: str) -> datetime:
        """Return the time of an hour, such as 03:30, of a day."""
        at = datetime.combine(self._first, time.fromisoformat(hour), UTC)
        return at + timedelta(days=day)

    @contextmanager
    def at(self, day: int, hour: str, *units: str) -> Iterator[None]:
        """Move the clock to a time for the block, and wait until units have run that are due then.

        Args:
            day: a day.
            hour: of the day, such as 03:30.
            units: services that their timers start at this time or earlier.

        Raises:
            NotInTimeError: one did not start, or did not end.
            AssertionError: one has failed.
        """
        before = self._runs(*units)
        seconds = self.time(day, hour).timestamp()
        self._server.run(["date", f"--set=@{seconds:.0f}"])
        yield
        for unit in units:
            patience_s = 2 * self._server.patience_s
            run = eventually(
                lambda unit=unit: self._ended(unit, before[unit].id),  # type: ignore[misc]
                patience_s,
                f"the end of {unit} at {hour} of day {day}",
                interval_s=2,
            )
            assert run.result == "success", f"{unit} at {hour} of day {day}: {run.result}"

    def keep(self) -> None:
        """Let the next boot begin at the present time: the kernel has no clock that goes on.

        systemd(1): at boot, the clock is advanced to the time of that file.
        """
        self._server.run(["touch", "/usr/lib/clock-epoch"])

    def _ended(self, unit: str, before: str) -> Run | None:
        """Return the run after another one, if it has ended."""
        run = self._runs(unit)[unit]
        return run if run.id not in ("", before) and run.state in _ENDED else None

    def _runs(self, *units: str) -> Mapping[str, Run]:
        properties = ("Id", "InvocationID", "ActiveState", "Result")
        found: dict[str, Run] = {}
        for unit in units:
            show = ["show", f"--property={','.join(properties)}", unit]
            lines = self._server.systemctl(*show).stdout.splitlines()
            values = dict(line.split("=", 1) for line in lines)
            found[unit] = Run(*(values.get(each, "") for each in properties[1:]))
        return found
