"""jupyterhub-idle-culler that waits after a jump of the clock; the hub runs it as a program.

The clock jumps when a suspended machine wakes up, or learns the right time. Then all servers look
as if nobody had used them since, until they report their activity again.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable
from typing import Any

from jupyterhub_idle_culler import IdleCuller

_log = logging.getLogger("idle_culler")
_INTERVAL = "JUPYTERHUB_ACTIVITY_INTERVAL"
"""Environment variable of servers: the interval of their reports, in seconds. If fragments change
it, this program should have it, too."""
_INTERVAL_S = 300
_JUMP_S = 60
"""The least that counts as a jump."""

Clock = Callable[[], float]


class Jumps:
    """Jumps of the clock, noticed by a clock that nobody sets.

    Args:
        reports_s: the interval at which servers report.
        clock: returns the time of the day.
        steady: returns a time that does not jump.
    """

    def __init__(
        self, reports_s: float, clock: Clock = time.time, steady: Clock = time.monotonic
    ) -> None:
        self._clock, self._steady = clock, steady
        # Servers vary the interval by a tenth, and the hub takes its time on a busy machine.
        self._patience_s = 1.2 * reports_s + 30
        self._ahead_s = clock() - steady()
        self._until_s: float | None = None

    def is_recent(self) -> bool:
        """Return whether there was a jump after which not all servers have reported yet."""
        now_s = self._steady()
        ahead_s = self._clock() - now_s
        jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if jump_s > _JUMP_S:
            self._until_s = now_s + self._patience_s
            text = "the clock has jumped by %.0f s: no server counts as idle for %.0f s"
            _log.warning(text, jump_s, self._patience_s)
        return self._until_s is not None and now_s < self._until_s


class PatientCuller(IdleCuller):  # type: ignore[misc]
    """jupyterhub-idle-culler that stops no server soon after a jump of the clock."""

    name = "idle-culler"
    cull_arbiter_hook: Any

    def start(self) -> None:
        """Look at servers until the hub ends this program."""
        decide = self.cull_arbiter_hook
        jumps = Jumps(float(os.environ.get(_INTERVAL) or _INTERVAL_S))

        async def arbiter(**about: Any) -> bool:
            if jumps.is_recent():
                return False
            decision = decide(**about)
            return bool(await decision if inspect.isawaitable(decision) else decision)

        self.cull_arbiter_hook = arbiter
        super().start()


if __name__ == "__main__":
    PatientCuller.launch_instance()
