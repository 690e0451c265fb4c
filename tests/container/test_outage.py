"""Users notice nothing of a change. The benchmark of the same name has the figures."""

import pytest

from tests.bench.outage.measure import measure
from tests.bench.outage.sides import at_work, our_events
from tests.hub import Hub

# Few enough for a hub that gets a tenth of a processor while other tests run: requests are sent on
# time whatever happens, and more of them would pile up.
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
