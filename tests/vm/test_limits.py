"""Memory limits and changes of the clock, which need a kernel of the machine's own."""

import pytest

from tests.eventually import eventually
from tests.hub import Hub
from tests.virtual import EMULATED_S, Vm

HOARD = "hoard = []\nwhile True:\n    hoard.append(b'x' * 2**20)\n"


@pytest.mark.long
@pytest.mark.row(14)
def test_a_cell_that_takes_all_memory_ends_its_kernel_alone_which_starts_again(hub: Hub) -> None:
    with (
        hub.person(timeout_s=EMULATED_S) as alice,
        hub.person(timeout_s=EMULATED_S) as bob,
    ):
        for person in alice, bob:
            person.start_server(timeout_s=EMULATED_S)
        with alice.open_kernel() as doomed, bob.open_kernel() as kernel:
            pid = hub.main_pid()
            kernel.run("x = 41", timeout_s=EMULATED_S)
            doomed.send(HOARD)
            unit = hub.layout.user_unit(alice.name)
            eventually(
                lambda: "killed by the OOM killer" in hub.machine.journal(f"{unit}.service"),
                EMULATED_S,
                "Linux to end the kernel",
            )
            assert hub.answers(EMULATED_S)
            assert hub.main_pid() == pid
            assert kernel.run("x + 1", timeout_s=EMULATED_S) == "42"
        assert alice.has_server()
        with alice.connect(doomed.id) as anew:
            assert anew.run("6 * 7", timeout_s=EMULATED_S) == "42"


@pytest.mark.long
def test_a_clock_that_jumps_by_a_day_stops_no_server(hub: Hub, vm: Vm) -> None:
    with hub.person(timeout_s=EMULATED_S) as alice:
        alice.start_server(timeout_s=EMULATED_S)
        with alice.open_kernel() as kernel:
            kernel.run("x = 41", timeout_s=EMULATED_S)
            for jump in "1 day", "2 days ago", "1 day":
                vm.run(["date", f"--set={jump}"])
                assert kernel.run("x + 1", timeout_s=EMULATED_S) == "42"
                assert alice.sees("/hub/home")
                with hub.person(timeout_s=EMULATED_S):
                    pass  # a new user logs in
            hub.reload()
            assert kernel.run("x + 1", timeout_s=EMULATED_S) == "42"
        with alice.connect(kernel.id) as again:
            assert again.run("x + 1", timeout_s=EMULATED_S) == "42"
