"""Compare the Slurm stack with batchspawner on one real Slurm cluster (`make bench-slurm`).

Both hubs are on the head of the cluster, and take turns: many servers are started, run for a while
without anybody at them, outlive a restart of their hub, and are stopped. Jobs are real; in them, a
stand-in of some lines takes the place of JupyterLab: it reports a port, at which one small web
server per node answers for all. slurmctld itself counts the requests that it gets (sdiag(1)).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import httpx

from tests.bench import rounds, upstream
from tests.bench.figures import OURS
from tests.bench.measures import people, percentile
from tests.bench.sides import add_accounts
from tests.bench.upstream import HUB_CONFIG, HUB_UNIT, PORT
from tests.bench.usage import cpu_s, usage
from tests.client import Person
from tests.container.conftest import EVERYBODY
from tests.eventually import eventually
from tests.hub import Hub
from tests.machine import Machine
from tests.server import Server
from tests.slurm import HEAD, NETWORK, Cluster

STOCK = "batchspawner"
TITLES = {
    "alone_s": "a server that starts alone: until it is ready, s",
    "failed": "servers that did not start",
    "started_s": "from the first request to the last server, s",
    "start_calls": "requests to slurmctld meanwhile, for each server",
    "start_cpu_s": "processor time of the hub meanwhile, for each server, s",
    "calls_per_hour": "requests to slurmctld in an hour in which nothing happens",
    "idle_cpu_s": "processor time of the hub in a minute of it, s",
    "slurmctld_cpu_s": "of slurmctld, s",
    "hub_mib": "memory of the hub, MiB",
    "page_p99_ms": "a page of the hub: p99, ms",
    "restart_s": "restart: until the hub's first page, s",
    "known_s": "restart: until it has all servers again, s",
    "lost": "servers that it does not have again",
    "stopped_s": "until all are stopped, s",
    "stop_calls": "requests to slurmctld meanwhile, for each server",
}
IDLE_S = 60
"""For how long servers run without anybody; batchspawner asks each 30 s, our stack 10 s."""
AT_ONCE = 20
"""Requests that are under way at the same time."""
PATIENCE_S = 1800
_TIMES_ALONE = 5
_PAGES = 200
_PAGE = 200
"""The most users that JupyterHub lists at once."""
_BACKEND_PORT = 18000
_DIRECTORY = "/home/.bench"
_FROM_NODES = re.compile(r"MESSAGE_|REQUEST_COMPLETE_|REQUEST_STATS_INFO")

# JupyterHub wants to know the version of the server.
_BACKEND = f"""
import asyncio

ANSWER = b"HTTP/1.1 200 OK\\r\\nX-JupyterHub-Version: 6.1.1\\r\\nContent-Length: 2\\r\\n\\r\\n{{}}"


async def answer(reader, writer):
    try:
        while await reader.readuntil(b"\\r\\n\\r\\n"):
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def main():
    server = await asyncio.start_server(answer, "", {_BACKEND_PORT}, backlog=1000)
    await server.serve_forever()


asyncio.run(main())
"""
# Perl is in every Debian. Our stack starts it as an interpreter (-I -m MODULE), batchspawner as the
# wrapper of the server's command.
_STAND_IN = f"""\
#!/usr/bin/perl
use strict; use IO::Socket::INET;
my $name = $ARGV[0] eq "-I" ? "slurm/port" : "batchspawner";
my ($address, $path) = $ENV{{JUPYTERHUB_API_URL}} =~ m{{^http://([^/]+)(/.*)$}};
$address .= ":80" unless $address =~ /:/;
my $body = '{{"port": {_BACKEND_PORT}}}';
for (1 .. 600) {{
    if (my $hub = IO::Socket::INET->new(PeerAddr => $address, Timeout => 60)) {{
        print $hub "POST $path/$name HTTP/1.0\\r\\nHost: $address\\r\\n",
            "Authorization: token $ENV{{JUPYTERHUB_API_TOKEN}}\\r\\n",
            "Content-Type: application/json\\r\\n",
            "Content-Length: ", length($body), "\\r\\n\\r\\n$body";
        my $status = <$hub> // "";
        exec "sleep", "3600" if $status =~ / (2\\d\\d|409) /;
    }}
    sleep 1;
}}
"""
_OURS_CONFIG = f'c.SlurmSpawner.python = "{_DIRECTORY}/stand-in"\n'
# Settings that batchspawner needs on a cluster; 6 lines of its documentation and its issues.
_STOCK_CONFIG = f"""\
c.JupyterHub.bind_url = "http://:{PORT}"
c.JupyterHub.hub_bind_url = "http://{NETWORK}.1:8081"
c.JupyterHub.hub_connect_url = "http://{HEAD}:8081"
c.JupyterHub.cleanup_servers = False
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "batchspawner.SlurmSpawner"
c.SlurmSpawner.batchspawner_singleuser_cmd = "{_DIRECTORY}/stand-in"
c.SlurmSpawner.req_srun = ""
c.Spawner.default_url = "/lab"
"""
_TOKEN = """
c.JupyterHub.services.append({{"name": "bench", "api_token": "{token}"}})
c.JupyterHub.load_roles.append(
    {{
        "name": "bench",
        "scopes": ["admin:users", "admin:servers", "list:users", "read:hub"],
        "services": ["bench"],
    }}
)
"""


@dataclass(frozen=True)
class Side:
    """A hub on the head."""

    name: str
    cluster: Cluster
    url: str
    unit: str
    token: str
    people: Sequence[str]

    @property
    def head(self) -> Server:
        return self.cluster.head

    async def for_each(
        self, action: Callable[[httpx.AsyncClient, str], Awaitable[bool]]
    ) -> list[bool]:
        """Do something for each of the people, some at a time, and return what each returns."""
        turns = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(
            base_url=f"{self.url}/hub/api/",
            headers={"Authorization": f"token {self.token}"},
            timeout=PATIENCE_S,
            trust_env=False,
        ) as client:

            async def in_turn(name: str) -> bool:
                async with turns:
                    return await action(client, name)

            return await asyncio.gather(*map(in_turn, self.people))

    def servers(self, state: str) -> int:
        """Return how many people have servers that are "ready", or "active": or starting."""
        found, headers = 0, {"Authorization": f"token {self.token}"}
        for offset in range(0, len(self.people) + _PAGE, _PAGE):
            url = f"{self.url}/hub/api/users?state={state}&limit={_PAGE}&offset={offset}"
            answer = httpx.get(url, headers=headers, timeout=60, trust_env=False)
            found += len(answer.raise_for_status().json())
        return found


async def start(client: httpx.AsyncClient, name: str) -> bool:
    """Request a server, and return whether the hub has accepted that."""
    answer = await client.post(f"users/{name}/server")
    while answer.status_code == 429:
        # JupyterHub starts 100 at a time, and says when to come again.
        await asyncio.sleep(float(answer.headers.get("Retry-After", 1)))
        answer = await client.post(f"users/{name}/server")
    return answer.status_code in (201, 202)


async def stop(client: httpx.AsyncClient, name: str) -> bool:
    """Stop a server, and return whether the hub has accepted that."""
    return (await client.delete(f"users/{name}/server")).status_code in (202, 204)


def calls(head: Server) -> int:
    """Return how many requests slurmctld has got from others than its own nodes."""
    return requests_in(head.run(["sdiag"]).stdout)


def requests_in(printed: str) -> int:
    """Return the number of requests that sdiag has printed, without those of nodes and its own."""
    section = printed.partition("by message type")[2].partition("by user")[0]
    found = re.findall(r"^\s+(\w+)\s+\(\s*\d+\)\s+count:(\d+)", section, re.MULTILINE)
    assert found, printed
    return sum(int(count) for name, count in found if not _FROM_NODES.match(name))


def turn(side: Side, person: Person) -> dict[str, float]:
    """Start, keep, and stop all servers at one hub, and return the figures."""
    head, count = side.head, len(side.people)
    alone_s = median(asyncio.run(_alone_s(side)) for _ in range(_TIMES_ALONE))
    before, cpu_before, begun = calls(head), cpu_s(head, side.unit), time.monotonic()
    asyncio.run(side.for_each(start))
    eventually(lambda: _are_settled(side), PATIENCE_S, "servers to have started", interval_s=0.5)
    ready = side.servers("ready")
    figures = {
        "alone_s": alone_s,
        "failed": count - ready,
        "started_s": time.monotonic() - begun,
        "start_calls": (calls(head) - before) / count,
        "start_cpu_s": (cpu_s(head, side.unit) - cpu_before) / count,
    }
    time.sleep(10)  # what starting leaves behind
    units = (side.unit, "slurmctld.service")
    before, cpus, begun = calls(head), [cpu_s(head, unit) for unit in units], time.monotonic()
    time.sleep(IDLE_S)
    passed_s = time.monotonic() - begun
    idle, slurmctld = (
        (cpu_s(head, unit) - then) * 60 / passed_s for unit, then in zip(units, cpus, strict=True)
    )
    figures |= {
        "calls_per_hour": (calls(head) - before) * 3600 / passed_s,
        "idle_cpu_s": idle,
        "slurmctld_cpu_s": slurmctld,
        "hub_mib": usage(head, side.unit)[side.unit].pss_mib,
        "page_p99_ms": percentile([*_page_seconds(person)], 99) * 1e3,
    }
    figures |= _restarted(side, ready)
    before, begun = calls(head), time.monotonic()
    asyncio.run(side.for_each(stop))
    # Not by squeue, which would be among the requests.
    eventually(lambda: not side.servers("active"), PATIENCE_S, "servers to end", interval_s=0.5)
    figures |= {
        "stopped_s": time.monotonic() - begun,
        "stop_calls": (calls(head) - before) / count,
    }
    eventually(lambda: not _jobs(head), PATIENCE_S, "no job to be left", interval_s=0.5)
    return figures


async def _alone_s(side: Side) -> float:
    """Start and stop one server while there is no other, and return how long the start took."""
    alone = replace(side, people=side.people[:1])
    begun = time.monotonic()
    await alone.for_each(start)
    eventually(lambda: side.servers("ready"), 120, "a server to have started", interval_s=0.1)
    taken_s = time.monotonic() - begun
    await alone.for_each(stop)
    eventually(lambda: not _jobs(side.head), 120, "its job to end", interval_s=0.5)
    eventually(lambda: not side.servers("active"), 120, "its server to end", interval_s=0.5)
    return taken_s


def _are_settled(side: Side) -> bool:
    return side.servers("active") == side.servers("ready")


def _page_seconds(person: Person) -> Iterator[float]:
    for _ in range(_PAGES):
        begun = time.monotonic()
        assert person.browser.get("/hub/home").status_code == 200
        yield time.monotonic() - begun


def _restarted(side: Side, ready: int) -> dict[str, float]:
    begun = time.monotonic()
    side.head.systemctl("restart", side.unit)
    eventually(lambda: upstream.answers(side.url), PATIENCE_S, "a page", interval_s=0.05)
    restart_s = time.monotonic() - begun
    with contextlib.suppress(AssertionError):
        eventually(lambda: side.servers("ready") >= ready, 300, "all servers", interval_s=0.2)
    known_s = time.monotonic() - begun
    return {"restart_s": restart_s, "known_s": known_s, "lost": ready - side.servers("ready")}


def _jobs(head: Server) -> str:
    return head.run(["squeue", "--noheader", "--format=%i"]).stdout.strip()


@contextlib.contextmanager
def sides(installer: Path, count: int) -> Iterator[dict[str, tuple[Side, Person]]]:
    """Yield both hubs on one cluster, and somebody who is logged in at each."""
    names, token, password = people(count), secrets.token_hex(), secrets.token_urlsafe()
    with contextlib.ExitStack() as cleanup:
        directory = cleanup.enter_context(tempfile.TemporaryDirectory(dir="/var/tmp"))
        processors = -(-count // 2) + 10
        cluster = cleanup.enter_context(Cluster(Path(directory), processors=processors))
        cluster.add_user("reader", password)
        for node in cluster.names:
            _prepare(cluster.machines[node], names)
        _prepare(cluster.head, names)
        found = {
            OURS: _ours(cluster, installer, token, names),
            STOCK: _stock(cluster, installer, token, names),
        }
        for node in cluster.names:
            python = cluster.head.run(["readlink", "-f", "/opt/littlest-hub/hub/bin/python3"])
            run = ["systemd-run", "--quiet", "--unit=backend", python.stdout.strip(), "-I"]
            cluster.machines[node].run([*run, f"{_DIRECTORY}/backend.py"])
        with_readers = {}
        for name, side in found.items():
            person = cleanup.enter_context(Person(side.url, "reader", password, timeout_s=60))
            person.log_in()
            with_readers[name] = (side, person)
        yield with_readers


def _prepare(machine: Machine, names: Sequence[str]) -> None:
    add_accounts(machine, names)
    machine.put(f"{_DIRECTORY}/stand-in", _STAND_IN, mode=0o755)
    machine.put(f"{_DIRECTORY}/backend.py", _BACKEND)


def _ours(cluster: Cluster, installer: Path, token: str, names: Sequence[str]) -> Side:
    hub = Hub.install(cluster.head, installer)
    hub.write_fragment("20-everybody.py", EVERYBODY)
    command = [hub.path("hub/bin/littlest-hub"), "enable", "slurm", "--yes"]
    cluster.head.run([*command, "--set", f"address=http://{HEAD}"])
    hub.write_fragment("60-bench.py", _OURS_CONFIG + _TOKEN.format(token=token))
    hub.reload()
    return _with_people(Side(OURS, cluster, hub.url, hub.layout.hub_service, token, names))


def _stock(cluster: Cluster, installer: Path, token: str, names: Sequence[str]) -> Side:
    head = cluster.head
    upstream.unpack(head, upstream.environment(installer))
    upstream.send(head, upstream.node(), "/opt/node")
    to_hub = upstream.CHP_UNIT.replace("127.0.0.1:8081", f"{NETWORK}.1:8081")
    config = _STOCK_CONFIG + upstream.CHP_CONFIG + _TOKEN.format(token=token)
    units = {"chp.service": to_hub, HUB_UNIT: upstream.hub_unit("chp.service")}
    url = upstream.set_up(head, {HUB_CONFIG: config}, units)
    return _with_people(Side(STOCK, cluster, url, HUB_UNIT, token, names))


def _with_people(side: Side) -> Side:
    headers, body = {"Authorization": f"token {side.token}"}, {"usernames": list(side.people)}
    url = f"{side.url}/hub/api/users"
    httpx.post(url, json=body, headers=headers, timeout=120, trust_env=False).raise_for_status()
    return side


def main() -> int:
    """Measure, print, and write the figures."""
    parser = rounds.parser(__doc__, "cluster", 3, "bench-slurm.json")
    parser.add_argument("--servers", type=int, default=200, metavar="N", help="how many (200)")
    options = parser.parse_args()
    with sides(rounds.begin(options), options.servers) as hubs:
        found = rounds.take_turns(options, [OURS, STOCK], lambda name: turn(*hubs[name]))
    print(rounds.table(f"{options.servers} servers", TITLES, found, "ours / batchspawner"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
