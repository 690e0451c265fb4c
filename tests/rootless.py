"""A hub that alice runs on a machine, without root."""

from tests.eventually import eventually
from tests.hub import Greeting
from tests.machine import Machine


def start(machine: Machine) -> Greeting:
    """Start the hub as alice, and return what it prints."""
    # It is a unit only so that its output can be read and it can be stopped: Ctrl-C is SIGINT.
    unit = [
        "systemd-run",
        "--collect",
        "--unit=foreground",
        "--uid=alice",
        "--setenv=HOME=/home/alice",
    ]
    ending = ["--property=KillSignal=SIGINT", "--property=KillMode=process"]
    machine.run([*unit, *ending, "/home/alice/hub/hub/bin/littlest-hub", "run"])
    invocation = machine.run(["systemctl", "show", "-P", "InvocationID", "foreground"]).stdout
    journal = ["journalctl", "--output=cat", f"_SYSTEMD_INVOCATION_ID={invocation.strip()}"]
    greeting = eventually(
        lambda: Greeting.find(machine.run(journal).stdout),
        60,
        "the greeting of `littlest-hub run`",
    )
    assert greeting
    return greeting
