"""Servers that the idle culler stops."""

from datetime import datetime

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Hub
from tests.terminal import opened

# Servers report their activity each second. They may be idle for longer than a busy machine can
# delay a report. The culler begins on demand.
IDLE_S = 10
FRAGMENT = f"""
c.Spawner.environment = {{"JUPYTERHUB_ACTIVITY_INTERVAL": "1"}}
culler = [*c.JupyterHub.services[0]["command"][:-1], "--timeout={IDLE_S}", "--cull-every=1"]
wait = 'until [ -e /run/cull ]; do sleep 1; done; exec "$@"'
c.JupyterHub.services[0]["command"] = ["/bin/sh", "-c", wait, "sh", *culler]
"""
BUSY = "import time\nwhile True: time.sleep(60)"
AS_JUPYTER_DOES = "c.MappingKernelManager.cull_busy = True\n"


def is_running(hub: Hub, person: Person) -> bool:
    unit = f"{hub.layout.user_unit(person.name)}.service"
    return hub.machine.systemctl("is-active", "--quiet", unit, check=False).returncode == 0


def last_activity(person: Person) -> datetime:
    """Return when the person's server was active last, as the hub knows it."""
    server = person._api("GET", f"users/{person.name}").json()["servers"][""]
    return datetime.fromisoformat(server["last_activity"])


def test_a_silent_cell_or_program_keeps_a_server_from_being_culled(hub: Hub) -> None:
    with (
        hub.fragment("70-culler.py", FRAGMENT),
        hub.person() as idle,
        hub.person() as computing,
        hub.person() as training,
        hub.person() as modest,
    ):
        config = f"/home/{modest.name}/.jupyter/jupyter_server_config.py"
        hub.machine.put(config, AS_JUPYTER_DOES)
        for person in (idle, computing, training, modest):
            person.start_server()
        assert idle.run_cell("6 * 7") == "42"
        for person in (computing, modest):
            with person.open_kernel() as kernel:
                kernel.send(BUSY)
        with opened(training) as terminal:
            terminal.run("cd /")
            terminal.type("sleep 1000")
            hub.machine.run(["touch", "/run/cull"])
            for person in (idle, modest):
                eventually(lambda p=person: not is_running(hub, p), 60, "its end")  # type: ignore[misc]
            # For twice the time that a server may be idle.
            for person in (computing, training):
                began = last_activity(person)
                eventually(
                    lambda p=person, b=began: (last_activity(p) - b).total_seconds() > 2 * IDLE_S,  # type: ignore[misc]
                    60,
                    "activity of a busy server",
                )
                assert is_running(hub, person)
        hub.machine.run(["rm", "/run/cull"])
