"""The ways in which the administrator is told: mail, and a webhook."""

from __future__ import annotations

import json
import subprocess
from email.message import EmailMessage
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from littlest_hub.errors import LittlestHubError, as_typed

# Where the Filesystem Hierarchy Standard has it, and where mail programs put it.
SENDMAIL = ("/usr/sbin/sendmail", "/usr/lib/sendmail", "/usr/bin/sendmail")
NO_MAIL_PROGRAM = "this machine has no sendmail"
INSTALL_MAIL_PROGRAM = "apt-get install msmtp-mta || dnf install msmtp"
TIMEOUT_S = 60


def mail_program() -> str | None:
    """Return the path of this machine's sendmail(8); None: it has none."""
    return next((each for each in SENDMAIL if Path(each).exists()), None)


def send_mail(address: str, title: str, text: str) -> None:
    """Hand a message to this machine's mail program, as sendmail(8).

    Args:
        address: of the recipient.
        title: the subject, one line.
        text: the body.

    Raises:
        LittlestHubError: there is no such program, or it refuses.
    """
    program = mail_program()
    if program is None:
        raise LittlestHubError(
            f"mail: {NO_MAIL_PROGRAM}", f"Install a mail program: {as_typed(INSTALL_MAIL_PROGRAM)}"
        )
    message = EmailMessage()
    message["To"] = address
    message["Subject"] = title
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no automatic answers
    message.set_content(text)
    try:
        # The recipient is read from the message; "--" would not be understood by all of them.
        done = subprocess.run(
            [program, "-oi", "-t"],
            input=message.as_bytes(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LittlestHubError(f"mail: {error}") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise LittlestHubError(f"mail: {program}: {said[-500:]}")


def post(webhook: str, title: str, text: str) -> None:
    """Send a message to a web address, as JSON with the field `text`.

    Mattermost, Rocket.Chat, Slack and Zulip's compatible webhooks take that.

    Args:
        webhook: the address, or the path of a file that contains it.
        title: one line.
        text: the rest.

    Raises:
        LittlestHubError: it cannot be sent. The message does not contain the address, which is
            often a secret.
    """
    body = json.dumps({"text": f"{title}\n\n{text}"}).encode()
    try:
        address = Path(webhook).read_text().strip() if webhook.startswith("/") else webhook
        if not address.startswith(("https://", "http://")):
            raise LittlestHubError(f"webhook: {webhook} contains no web address (https://…)")
        headers = {"Content-Type": "application/json", "User-Agent": "littlest-hub"}
        with urlopen(Request(address, body, headers), timeout=TIMEOUT_S):
            pass
    except HTTPError as error:
        raise LittlestHubError(f"webhook: it answers {error.code} {error.reason}") from error
    except URLError as error:
        raise LittlestHubError(f"webhook: {error.reason}") from error
    except (OSError, ValueError) as error:
        raise LittlestHubError(f"webhook: {error}") from error
