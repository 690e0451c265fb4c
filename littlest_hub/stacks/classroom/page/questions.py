"""Questions before decisions that end somebody's work; no input or output."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from littlest_hub.errors import with_sudo

ASKED = "ask-"
"""What the value of a button begins with that asks first, before the decision."""
_LOSS = "Kernels end with all variables; what is not saved in a file is lost."


@dataclass(frozen=True)
class Question:
    """A question with what happens if the answer is yes, and the way back."""

    title: str
    consequences: str
    undo: str
    yes: str
    """The text of the button that takes the decision."""
    commands: tuple[tuple[str, str], ...] = ()
    """Commands of root for later, each with what it is for."""


def about(decision: str, name: str, server: str, command: str) -> Question | None:
    """Return the question before a decision; None: there is none.

    Args:
        decision: one of the page.
        name: of the person.
        server: the name of the server; "": the default one.
        command: `littlest-hub`, as people type it.
    """
    which = f"the server {server} of {name}" if server else f"the server of {name}"
    typed, quoted = with_sudo(f"{command} class"), shlex.quote(name)
    match decision:
        case "remove":
            return Question(
                f"Remove {name} from this class?",
                f"The password, sessions, tokens, and servers of {name} end at once. {_LOSS} The"
                f" files stay, but nobody gets them: a later {name} gets no server until you decide"
                " what becomes of them.",
                f"To let {name} in again later, choose Lock out instead. To undo Remove, add {name}"
                " again with another password, and give back the files with a command.",
                f"Remove {name}",
                (
                    (f"To give {name}, added again, the files back", f"{typed} keep {quoted}"),
                    ("To put the files into an archive", f"{typed} remove {quoted} --archive"),
                ),
            )
        case "lock":
            return Question(
                f"Lock out {name}?",
                f"Sessions, tokens, and servers of {name} end at once, and {name} cannot log in."
                f" {_LOSS} The password and the files stay.",
                "Unlock undoes it.",
                f"Lock out {name}",
            )
        case "stop" | "restart":
            verb = decision.capitalize()
            return Question(
                f"{verb} {which}?",
                f"{_LOSS} The files stay.",
                "What is lost cannot be brought back.",
                f"{verb} {which}",
            )
    return None
