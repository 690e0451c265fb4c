"""What people notice of a change: nothing. The bench of the same name has the figures."""

import pytest

from tests.bench.outage.measure import measure
from tests.bench.outage.sides import at_work, our_events
from tests.hub import Hub

# Few enough for a hub that has a tenth of a processor: what is late because other tests run beside
# this one is nobody's fault, and requests that are sent on time whatever happens would pile up.
RATE = 4


@pytest.mark.parametrize("event", ["reload", "proxy-restart"])
def test_no_request_fails_and_no_websocket_breaks(hub: Hub, event: str) -> None:
    with hub.person() as person:
        side = at_work("ours", person, our_events(hub))
        outcome = measure(side, event, quiet_s=1, rate=RATE)
    assert outcome.error == ""
    assert (outcome.hub.reasons, outcome.user.reasons) == ({}, {})
    assert outcome.hub.sent > 0
    assert outcome.user.sent > 0
    assert (outcome.reconnects, outcome.missing) == (0, 0)
