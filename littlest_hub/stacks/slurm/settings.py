"""The settings of the spawner, and the form of options for a server."""

# traitlets' decorators have no types.
# mypy: disable-error-code="untyped-decorator"

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tornado.web import HTTPError
from traitlets import Any as AnyTrait
from traitlets import Dict, Float, Integer, List, TraitError, Unicode, default, validate
from traitlets.config import LoggingConfigurable

from littlest_hub import installation
from littlest_hub.layout import Layout
from littlest_hub.stacks.slurm import commands, options
from littlest_hub.stacks.slurm.commands import SlurmError
from littlest_hub.stacks.slurm.jobs import SINFO_FORMAT, Partition, parse_sinfo
from littlest_hub.stacks.slurm.options import Choice, Limits, Request

POLL_INTERVAL_S = 10
"""Interval at which JupyterHub polls servers; one query of Slurm answers for all of them."""
CLUSTER_AGE_S = 60
"""The greatest age of an answer of sinfo."""
FAILURE_AGE_S = 10
"""Time for which sinfo is not asked again after a failure."""


class Cluster:
    """The partitions of the cluster, queried at most once in `CLUSTER_AGE_S`."""

    def __init__(self) -> None:
        self._partitions: list[Partition] = []
        self._failure: SlurmError | ValueError | None = None
        self._until = float("-inf")
        self._turn = asyncio.Lock()

    def last(self) -> list[Partition]:
        """Return the partitions in the last answer; none: there was no answer yet."""
        return self._partitions

    async def partitions(self) -> list[Partition]:
        """Return the partitions from the last answer.

        Raises:
            SlurmError: Slurm does not answer.
            ValueError: the answer has another format.
        """
        # People who come at the same time get one answer, and one failure.
        async with self._turn:
            if time.monotonic() > self._until:
                await self._ask()
        if self._failure:
            raise self._failure
        return self._partitions

    async def _ask(self) -> None:
        try:
            printed = await commands.run(["sinfo", "--noheader", f"--format={SINFO_FORMAT}"])
            self._partitions, self._failure = parse_sinfo(printed), None
        except (SlurmError, ValueError) as error:
            self._failure = error
        age_s = FAILURE_AGE_S if self._failure else CLUSTER_AGE_S
        self._until = time.monotonic() + age_s


CLUSTER = Cluster()


class SlurmSettings(LoggingConfigurable):  # type: ignore[misc]
    """Settings that fragments write as c.SlurmSpawner, in addition to those of all spawners."""

    layout = AnyTrait(help="the installation")

    partitions = Dict(
        key_trait=Unicode(),
        value_trait=Dict(),
        config=True,
        help="The partitions that people may choose, the usual one first, each with the most that"
        " they may ask for: {'main': {'hours': 8, 'processors': 4, 'memory_gb': 8, 'gpus': 0}}."
        " Without any, people choose nothing, and Slurm's defaults apply.",
    )
    accounts = List(Unicode(), config=True, help="Accounts of Slurm that people may choose.")
    reservations = List(Unicode(), config=True, help="Reservations that people may choose.")
    qos = List(Unicode(), config=True, help="Qualities of service that people may choose.")
    python = Unicode(
        config=True,
        help="The interpreter of a release of this hub, as the nodes see it. Default: this hub's.",
    )
    node_address = Unicode(
        "{node}", config=True, help="The name under which this machine reaches a node."
    )
    sbatch_options = List(
        Unicode(), config=True, help="More options of sbatch, such as '--qos=interactive'."
    )

    warn_minutes = Integer(
        10,
        min=1,
        config=True,
        help="How many minutes before its time limit ends a server people read so in JupyterLab.",
    )
    prolong_hours = Float(
        0,
        min=0,
        config=True,
        help="How many hours more people may give a server that is about to end, as often as the"
        " time limit of its partition allows. 0: none.",
    )

    @validate("partitions")
    def _check_partitions(self, proposal: Any) -> Any:
        for name, limits in proposal.value.items():
            _check_name(name)
            try:
                Limits(**limits)
            except (TypeError, ValueError) as error:
                raise TraitError(f"{name}: {error}") from None
        return proposal.value

    @validate("accounts", "reservations", "qos")
    def _check_names(self, proposal: Any) -> Any:
        for name in proposal.value:
            _check_name(name)
        return proposal.value

    @validate("sbatch_options")
    def _check_sbatch_options(self, proposal: Any) -> Any:
        for option in proposal.value:
            if not options.is_option(option):
                raise TraitError(f"expected options such as --qos=interactive, found {option!r}")
        return proposal.value

    @validate("node_address")
    def _check_node_address(self, proposal: Any) -> Any:
        try:
            proposal.value.format(node="c1")
        except (KeyError, IndexError, ValueError) as error:
            raise TraitError(f"expected a name with {{node}} in it: {error!r}") from None
        return proposal.value

    @property
    def choice(self) -> Choice:
        """The options that people may choose, within the last answer about the cluster.

        Slurm itself may accept more, and such a job would wait forever (EnforcePartLimits=NO).
        """
        limits = {name: Limits(**most) for name, most in self.partitions.items()}
        names = (tuple(each) for each in (self.accounts, self.reservations, self.qos))
        choice = Choice(limits, *names)
        here = choice.within(CLUSTER.last())
        return here if here.limits else choice

    async def look_at_cluster(self) -> None:
        """Ask Slurm for its partitions, if there are any to choose; without an answer, log why."""
        try:
            if self.partitions:
                await CLUSTER.partitions()
        except (SlurmError, ValueError) as error:
            self.log.warning("What people choose is not compared with the cluster: %s", error)

    def request_for(self, chosen: Mapping[str, Any]) -> Request:
        """Return the request for the options of a person.

        Raises:
            HTTPError: an option is refused; the message is for people.
        """
        try:
            return self.choice.request(chosen)
        except ValueError as error:
            refusal = HTTPError(400, "%s", error)
            refusal.jupyterhub_message = str(error)
            raise refusal from error

    @default("layout")
    def _default_layout(self) -> Layout:
        return installation.of_this_release()

    @default("python")
    def _default_python(self) -> str:
        return str(installation.release_of_this_interpreter() / "bin" / "python3")

    @default("ip")
    def _default_ip(self) -> str:
        return "0.0.0.0"

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    @default("poll_interval")
    def _default_poll_interval(self) -> int:
        return POLL_INTERVAL_S

    @default("options_form")
    def _default_options_form(self) -> Any:
        return _form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return _from_form


async def _form(spawner: Any) -> str:
    """Return the form, limited to what the cluster has; "": there is nothing to choose."""
    if not spawner.partitions:
        return ""
    await spawner.look_at_cluster()
    return options.form(spawner.choice, spawner.orm_spawner.user_options or {})


def _from_form(data: Mapping[str, Sequence[str]], spawner: Any = None) -> dict[str, str]:
    """Return the options in a form, which have to be valid because JupyterHub stores them.

    Raises:
        HTTPError: an option is refused.
    """
    chosen = options.from_form(data)
    if spawner is not None:
        spawner.request_for(chosen)
    return chosen


def _check_name(name: str) -> None:
    if not options.is_name(name):
        raise TraitError(f"{name!r} cannot be a name in Slurm")
