"""Run `make demo`: build, install on a throw-away machine, execute a notebook cell."""

import argparse
import contextlib
import os
import pwd
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.client import Person
from tests.eventually import eventually
from tests.hub import Greeting, Hub, build_installer
from tests.machine import Machine, why_no_machines

CELL = """\
import getpass, platform
f"{getpass.getuser()} on {platform.freedesktop_os_release()['PRETTY_NAME']}: {sum(range(101))}\""""


def main(arguments: list[str] | None = None) -> int:
    """Build, install, log in, run a cell, and show it; without `--once`, wait for Ctrl-C."""
    options = _parser().parse_args(arguments)
    started_s = time.monotonic()
    # SIGTERM cleans up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    shell = ""
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as cleanup:
        installer: Path = options.installer or _build()
        reason = "asked for" if options.rootless else why_no_machines()
        if reason:
            print(f"rootless, on this machine itself ({reason})", flush=True)
            person = cleanup.enter_context(_at_home(installer.resolve()))
        else:
            machine, person = cleanup.enter_context(_on_a_machine(installer))
            shell = shlex.join(machine.enter(["bash"]))
        with _step("log in through the proxy"):
            person.log_in()
        with _step("start the user server"):
            person.start_server()
        with _step("run a notebook cell over the websocket"):
            answer = person.run_cell(CELL)
        print(f"\n{_indented('In:  ', CELL)}\n{_indented('Out: ', answer)}\n")
        print(f"It works, {time.monotonic() - started_s:.0f} s in all. The installer: {installer}")
        if not options.once:
            print(f"\n  {person.url}\n  user:     {person.name}\n  password: {person.password}\n")
            if shell:
                print(f"A shell on the machine, as root:\n  {shell}\n")
            print("Ctrl-C ends it and removes everything but the installer.", flush=True)
            signal.pause()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo", description=main.__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the proof (ONCE=1)")
    parser.add_argument(
        "--installer", type=Path, metavar="PATH", help="show this .sh instead of building one"
    )
    parser.add_argument(
        "--rootless",
        action="store_true",
        help="without a machine: into a temporary directory, as an ordinary user",
    )
    return parser


def _build() -> Path:
    with _step("build the installer"):
        return build_installer()


@contextlib.contextmanager
def _on_a_machine(installer: Path) -> Iterator[tuple[Machine, Person]]:
    """Yield a machine and a user of its hub, not logged in yet."""
    name, password = "alice", secrets.token_urlsafe(9)
    with contextlib.ExitStack() as cleanup:
        with _step("boot a Debian 12 without network"):
            machine = cleanup.enter_context(Machine("bookworm"))
            machine.add_user(name, password)
        with _step(f"bash {installer.name} -b"):
            hub = Hub.install(machine, installer, env={"LITTLEST_HUB_ADMIN": name})
        yield machine, cleanup.enter_context(Person(hub.url, name, password))


@contextlib.contextmanager
def _at_home(installer: Path) -> Iterator[Person]:
    """Yield the user of `littlest-hub run` in a base directory that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="littlest-hub-demo-") as directory:
        home = Path(directory)
        # As root, the installer would install units, so use an account that owns nothing else.
        user = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        become = ["setpriv", *ids] if os.geteuid() == 0 else []
        os.chown(home, user.pw_uid, user.pw_gid)
        # That account may not be able to read the checkout.
        script = shutil.copy(installer, home)
        env = {
            "PATH": os.defpath,
            "HOME": directory,
            "USER": user.pw_name,
            "LITTLEST_HUB_BASE": f"{home}/hub",
        }
        with _step(f"bash {installer.name} -b"):
            install = [*become, "bash", script, "-b"]
            subprocess.run(install, env=env, cwd=home, check=True, stdout=subprocess.DEVNULL)
        log = home / "log"
        with log.open("w") as output:
            process = subprocess.Popen(
                [*become, f"{home}/hub/hub/bin/littlest-hub", "run"],
                env=env,
                cwd=home,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C ends this process, which passes it on at the end.
                start_new_session=True,
            )
        try:
            with _step("littlest-hub run"):
                greeting = eventually(lambda: _greeting(process, log), 90, "its greeting")
            with Person(greeting.url, greeting.user, greeting.password) as person:
                yield person
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=30)


def _greeting(process: subprocess.Popen[bytes], log: Path) -> Greeting | None:
    if process.poll() is not None:
        raise RuntimeError(f"littlest-hub run ended with {process.returncode}:\n{log.read_text()}")
    return Greeting.find(log.read_text())


@contextlib.contextmanager
def _step(what: str) -> Iterator[None]:
    started_s = time.monotonic()
    print(f"→ {what} …", flush=True)
    yield
    print(f"  {time.monotonic() - started_s:.1f} s", flush=True)


def _indented(first: str, text: str) -> str:
    return first + text.strip().replace("\n", "\n" + " " * len(first))


if __name__ == "__main__":
    sys.exit(main())
