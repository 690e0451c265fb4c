"""`littlest-hub course lti`: the course of a learning platform, its people and its gradebook."""

from __future__ import annotations

import argparse
import sys

from littlest_hub.layout import Layout
from littlest_hub.manifest import verbs
from littlest_hub.manifest.verbs import Verbs
from littlest_hub.stacks.courses import place
from littlest_hub.stacks.courses import records as courses
from littlest_hub.stacks.courses.course import number_of
from littlest_hub.stacks.courses.lti import keys, records, work
from littlest_hub.stacks.courses.lti.connection import LOGINS, Connection
from littlest_hub.stacks.courses.roster import change
from littlest_hub.system import json_file
from littlest_hub.system.progress import to_stderr


def add(commands: Verbs) -> None:
    """Add these commands to those of `littlest-hub course`."""
    parser = commands.add_parser(
        "lti",
        help="roster from a learning platform, and grades back to it (LTI 1.3)",
        description="Take the roster of a course from a learning platform, and send grades back,"
        " through the services of LTI 1.3.",
    )
    own = parser.add_subparsers(metavar="COMMAND", required=True)
    key = verbs.add(
        own,
        "key",
        _key,
        "print the public key, which the platform needs",
        "Print the public key, by which the platform recognizes this hub, and where the hub shows"
        " it. It is made if there is none.",
    )
    key.add_argument("--replace", action="store_true", help="make another one")
    _add_connect(own)
    for word, function, text in (
        ("show", _show, "show the platform of a course, and which grades it has"),
        ("disconnect", _disconnect, "forget the platform of a course"),
    ):
        verbs.add(own, word, function, text, needs=["NAME"])
    roster = verbs.add(
        own,
        "roster",
        _roster,
        "let exactly the students of the platform's course take part",
        "Let exactly the active students of the platform's course take part. Those who are not"
        " among them any more lose access; their files and grades stay.",
        needs=["NAME"],
    )
    roster.add_argument("--dry-run", action="store_true", help="only say who comes and goes")
    sending = verbs.add(
        own,
        "grades",
        _grades,
        "send the grades of an assignment to the platform",
        "Send the grades of an assignment to the platform's gradebook, in a column that is made if"
        " there is none. Only new and changed grades are sent; those with answers that somebody"
        " still has to grade are not. If it is interrupted, run it again.",
        needs=["NAME", "ASSIGNMENT"],
    )
    sending.add_argument("--again", action="store_true", help="also grades that the platform has")


def _add_connect(own: Verbs) -> None:
    connect = verbs.add(
        own,
        "connect",
        _connect,
        "name the platform of a course, and its addresses",
        "Name the platform of a course, and its addresses, instead of those before. Nothing is"
        " asked of the platform.",
        needs=["NAME"],
    )
    for option, is_needed, text in (
        ("client-id", True, "of this hub at the platform"),
        ("token-url", True, "where the platform gives access tokens"),
        ("members-url", True, "of the members of the platform's course"),
        ("grades-url", False, "of the columns of its gradebook; without it, no grades are sent"),
        ("deployment-id", False, "if the platform asks for it"),
        ("audience", False, "of the signed statement; default: the token URL"),
    ):
        connect.add_argument(
            f"--{option}", metavar=option.upper(), required=is_needed, default="", help=text
        )
    connect.add_argument(
        "--login",
        choices=LOGINS,
        default="email",
        help="what a student's login here is there; default: %(default)s",
    )
    connect.add_argument(
        "--strip-domain", action="store_true", help="logins are the parts before @"
    )


def _key(layout: Layout, options: argparse.Namespace) -> int:
    key = keys.replaced(layout) if options.replace else keys.present(layout)
    base = json_file.read_object(layout.on_disk(place.published(layout) / place.ADDRESS))
    print(f"Address of the key (JWKS), below that of the hub: {_path(base.get('base_url'))}")
    print(f"The same key, for a platform that cannot reach the hub:\n{key.pem}", end="")
    return 0


def _path(base: object) -> str:
    return f"{base if isinstance(base, str) else '/'}hub/courses/keys.json"


def _connect(layout: Layout, options: argparse.Namespace) -> int:
    name = courses.of_name(layout, options.name).name
    connection = Connection(
        options.client_id,
        options.token_url,
        options.members_url,
        options.grades_url,
        options.deployment_id,
        options.audience,
        options.login,
        options.strip_domain,
    ).checked()
    with records.alone(layout, name):
        records.connect(layout, name, connection)
    print(f"{name} is connected. See who would come and go: ", end="")
    print(f"{layout.command} course lti roster {name} --dry-run")
    return 0


def _show(layout: Layout, options: argparse.Namespace) -> int:
    course = courses.of_name(layout, options.name)
    record = records.of_course(layout, course.name)
    for key, value in record.connection.to_json().items():
        print(f"{key:14}  {value}".rstrip())
    for assignment, sent in record.sent.items():
        print(f"{assignment}: the platform has {number_of(sent.grades, 'grade')}")
    return 0


def _disconnect(layout: Layout, options: argparse.Namespace) -> int:
    name = courses.of_name(layout, options.name).name
    with records.alone(layout, name):
        found = records.forget(layout, name)
    print(f"{name} {'is not connected any more' if found else 'was not connected'}.")
    return 0


def _roster(layout: Layout, options: argparse.Namespace) -> int:
    course = courses.of_name(layout, options.name)
    students = work.students(layout, course, to_stderr)
    change.replace(layout, course.name, students, is_dry=options.dry_run)
    return 0


def _grades(layout: Layout, options: argparse.Namespace) -> int:
    course = courses.of_name(layout, options.name)
    outcome = work.send(layout, course, options.assignment, to_stderr, is_again=options.again)
    for line in outcome.notes(options.assignment, course):
        print(line)
    for line in outcome.failures():
        print(line, file=sys.stderr)
    return 1 if outcome.failed else 0
