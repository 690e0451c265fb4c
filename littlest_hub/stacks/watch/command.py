"""`littlest-hub watch`: the daily look, now; or a message that shows whether messages arrive."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from littlest_hub.errors import LittlestHubError, as_typed
from littlest_hub.layout import Layout
from littlest_hub.manifest.enabled import EnabledStack
from littlest_hub.stacks.watch.delivery import INSTALL_MAIL_PROGRAM, NO_MAIL_PROGRAM, mail_program
from littlest_hub.stacks.watch.look import NAME, WAYS, answers_of, joined, look, tell


def after_enable(layout: Layout, stack: EnabledStack) -> Iterator[str]:
    """Yield how to see a message arrive, and what mail lacks on this machine."""
    if stack.answers.get("mail") and mail_program() is None:
        yield f"{NO_MAIL_PROGRAM}, so no mail is sent yet. {as_typed(INSTALL_MAIL_PROGRAM)}"
    yield f"To see a message arrive: {layout.command} {NAME} --try"


def run(layout: Layout, arguments: Sequence[str]) -> int:
    """Look now, or send a message to try it."""
    parser = argparse.ArgumentParser(
        prog=f"{layout.command} {NAME}",
        description="Look at the hub now, as the timer does every day, and tell what is new.",
    )
    parser.add_argument(
        "--try", action="store_true", dest="is_trial", help="only send a message, to see it arrive"
    )
    if parser.parse_args(arguments).is_trial:
        _try(layout)
        print("Sent.")
        return 0
    found = look(layout)
    print(found.text(layout.command) if found.is_due else "Nothing new.")
    return 0


def _try(layout: Layout) -> None:
    if not any(answers_of(layout).get(way) for way in WAYS):
        raise LittlestHubError(
            "neither a mail address nor a webhook is set",
            f"{layout.command} disable {NAME} && {layout.command} enable {NAME} --set mail=ADDRESS",
        )
    text = f"`{layout.command} {NAME} --try` sent this, to see whether it arrives.\n"
    if failures := tell(layout, "a trial", text):
        raise joined(failures)
