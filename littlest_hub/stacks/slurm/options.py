"""The options that people may choose for their job: names, types and limits."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from littlest_hub.stacks.slurm.jobs import Partition

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.,@+-]{0,63}")
_OPTION = re.compile(r"--[a-z][a-z0-9-]{1,40}(=[ -~]{0,500})?")
_MOST = 10**9
_LEAST = {"hours": 0.02, "memory_gb": 0.25}


@dataclass(frozen=True)
class Limits:
    """The most that people may request in one partition, even if Slurm accepts more."""

    hours: float = 8
    processors: int = 4
    memory_gb: float = 8
    gpus: int = 0

    def __post_init__(self) -> None:
        for name, most in vars(self).items():
            if isinstance(most, bool) or not isinstance(most, (int, float)) or most < 0:
                raise ValueError(f"{name}: expected a number, found {most!r}")


@dataclass(frozen=True)
class Request:
    """The valid request of one job; 0 and "" stand for Slurm's default."""

    partition: str = ""
    minutes: int = 0
    processors: int = 0
    memory_mb: int = 0
    gpus: int = 0
    account: str = ""
    reservation: str = ""
    qos: str = ""

    def __post_init__(self) -> None:
        """Check it once more: root's helper takes it from the hub.

        Raises:
            ValueError: a field has a value that no request has.
        """
        for name, value in vars(self).items():
            is_number = type(getattr(Request, name)) is int
            if type(value) is not type(getattr(Request, name)) or (
                value and not (0 < value < _MOST if is_number else is_name(value))
            ):
                raise ValueError(f"{name}: {value!r} cannot be requested")

    def arguments(self) -> list[str]:
        """Return sbatch's options."""
        return [
            option
            for value, option in (
                (self.partition, f"--partition={self.partition}"),
                (self.minutes, f"--time={self.minutes}"),
                (self.processors, f"--cpus-per-task={self.processors}"),
                (self.memory_mb, f"--mem={self.memory_mb}M"),
                (self.gpus, f"--gres=gpu:{self.gpus}"),
                (self.account, f"--account={self.account}"),
                (self.reservation, f"--reservation={self.reservation}"),
                (self.qos, f"--qos={self.qos}"),
            )
            if value
        ]


@dataclass(frozen=True)
class Choice:
    """The partitions that people may choose, with their limits, and names of accounts."""

    limits: Mapping[str, Limits]
    """Limits by partition; the first partition is the default."""
    accounts: Sequence[str] = ()
    """Accounts of Slurm that people may name; none: their default account."""
    reservations: Sequence[str] = ()
    qos: Sequence[str] = ()

    def request(self, options: Mapping[str, Any]) -> Request:
        """Return the request for the options of a person; missing ones have a default.

        Args:
            options: "partition", "hours", "processors", "memory_gb", "gpus", "account",
                "reservation" and "qos", as text or numbers. Others are refused.

        Raises:
            ValueError: an option is refused; the message is for people.
        """
        if unknown := [name for name in options if name not in _FIELDS]:
            raise ValueError(f"{', '.join(sorted(map(str, unknown)))}: no such option")
        if not self.limits:
            return Request()
        partition = str(options.get("partition") or next(iter(self.limits)))
        if partition not in self.limits:
            raise ValueError(f"partition: expected one of {', '.join(self.limits)}")
        most = self.limits[partition]
        least = {name: min(few, getattr(most, name)) for name, few in _LEAST.items()}
        hours = _number(options, "hours", min(1, most.hours), least["hours"], most.hours)
        memory_gb = _number(
            options, "memory_gb", min(2, most.memory_gb), least["memory_gb"], most.memory_gb
        )
        return Request(
            partition,
            minutes=max(round(hours * 60), 1),
            processors=int(_number(options, "processors", 1, 1, most.processors, whole=True)),
            memory_mb=round(memory_gb * 1024),
            gpus=int(_number(options, "gpus", 0, 0, most.gpus, whole=True)),
            account=_one_of(options, "account", self.accounts),
            reservation=_one_of(options, "reservation", self.reservations),
            qos=_one_of(options, "qos", self.qos),
        )

    def within(self, partitions: Sequence[Partition]) -> Choice:
        """Return the choice without partitions that are not up, limited to the size of nodes.

        Args:
            partitions: those of the cluster.
        """
        found = {}
        known = {partition.name: partition for partition in partitions if partition.is_up}
        for name, most in self.limits.items():
            if name in known:
                has = known[name]
                hours = most.hours if has.most_minutes is None else has.most_minutes / 60
                found[name] = Limits(
                    min(most.hours, math.floor(hours * 100) / 100),
                    min(most.processors, has.processors),
                    # People read it: 3.9 of 4000 MB.
                    min(most.memory_gb, math.floor(has.memory_mb / 102.4) / 10),
                    min(most.gpus, has.gpus),
                )
        return replace(self, limits=found)


_FIELDS = (
    *("partition", "hours", "processors", "memory_gb", "gpus"),
    *("account", "reservation", "qos"),
)


def _number(
    options: Mapping[str, Any],
    name: str,
    usual: float,
    least: float,
    most: float,
    *,
    whole: bool = False,
) -> float:
    text = options.get(name)
    if text is None or text == "":
        return usual
    expected = f"{name}: expected a {'whole ' if whole else ''}number from {least:g} to {most:g}"
    try:
        # A bool is an int; "1e3" and "inf" are floats.
        if isinstance(text, bool) or not re.fullmatch(r"\d{1,6}(\.\d{1,4})?", str(text)):
            raise ValueError
        number = float(text)
    except (ValueError, TypeError):
        raise ValueError(expected) from None
    if not least <= number <= most or (whole and number != int(number)):
        raise ValueError(expected)
    return number


def _one_of(options: Mapping[str, Any], name: str, names: Sequence[str]) -> str:
    chosen = str(options.get(name) or "")
    if chosen and chosen not in names:
        known = f"one of {', '.join(names)}" if names else "nothing"
        raise ValueError(f"{name}: expected {known}")
    return chosen


def is_name(name: str) -> bool:
    """Return whether a partition, account, reservation or QOS may have this name in a fragment."""
    return bool(_NAME.fullmatch(name))


def is_option(text: str) -> bool:
    """Return whether a text is a long option of sbatch, with its value."""
    return bool(_OPTION.fullmatch(text))


def form(choice: Choice, chosen: Mapping[str, Any]) -> str:
    """Return the fields of the form that people see before their server starts.

    Args:
        choice: the options that people may choose.
        chosen: the options of the person's last start.
    """
    return "\n".join(
        [
            _partition_field(choice, chosen),
            *_number_fields(choice, chosen),
            *_name_fields(choice, chosen),
        ]
    )


def _partition_field(choice: Choice, chosen: Mapping[str, Any]) -> str:
    partitions = "".join(
        f'<option value="{html.escape(name)}"'
        f"{' selected' if name == chosen.get('partition') else ''}>"
        f"{html.escape(name)}: up to {most.hours:g} h, {most.processors} processors,"
        f" {most.memory_gb:g} GB{f', {most.gpus} GPUs' if most.gpus else ''}</option>"
        for name, most in choice.limits.items()
    )
    return _field("partition", "Partition", f"<select {_select('partition')}>{partitions}</select>")


def _number_fields(choice: Choice, chosen: Mapping[str, Any]) -> Iterator[str]:
    largest = Limits(
        *(
            max((getattr(each, field) for each in choice.limits.values()), default=0)
            for field in ("hours", "processors", "memory_gb", "gpus")
        )
    )
    for name, label, usual, step, most in (
        ("hours", "Hours until the server ends", min(1, largest.hours), "any", largest.hours),
        ("processors", "Processors", 1, "1", largest.processors),
        ("memory_gb", "Memory in GB", min(2, largest.memory_gb), "any", largest.memory_gb),
        ("gpus", "GPUs", 0, "1", largest.gpus),
    ):
        if name != "gpus" or most:
            value = html.escape(str(chosen.get(name, usual)))
            least = f"{_LEAST.get(name, 0 if name == 'gpus' else 1):g}"
            yield _field(
                name,
                label,
                f'<input {_attributes(name)} type="number" min="{least}" max="{most:g}"'
                f' step="{step}" value="{value}">',
            )


def _name_fields(choice: Choice, chosen: Mapping[str, Any]) -> Iterator[str]:
    for name, label, names, without in (
        ("account", "Account", choice.accounts, "your usual one"),
        ("reservation", "Reservation", choice.reservations, "none"),
        ("qos", "Quality of service (QOS)", choice.qos, "your usual one"),
    ):
        if names:
            listed = f'<option value="">{without}</option>'
            listed += "".join(_option(each, chosen.get(name)) for each in names)
            yield _field(name, label, f"<select {_select(name)}>{listed}</select>")


def _attributes(name: str) -> str:
    return f'class="form-control" id="slurm-{name}" name="{name}"'


def _select(name: str) -> str:
    return f'class="form-select" id="slurm-{name}" name="{name}"'


def _option(name: str, chosen: object) -> str:
    return f"<option{' selected' if name == chosen else ''}>{html.escape(name)}</option>"


def _field(name: str, label: str, control: str) -> str:
    return (
        f'<div class="mb-3"><label class="form-label" for="slurm-{name}">{label}</label>'
        f"{control}</div>"
    )


def from_form(data: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the options that a form contains; each field of a form is a list."""
    return {name: data[name][0].strip() for name in _FIELDS if data.get(name) and data[name][0]}
