"""The report of `littlest-hub check` on fragments, without a hub."""

import pytest

from littlest_hub.check import check_fragments
from littlest_hub.layout import Layout
from tests.broken import BROKEN, BROKEN_WITHOUT_SANDBOX, Broken
from tests.unit.check.fragments import errors, only, write

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("broken", BROKEN_WITHOUT_SANDBOX, ids=lambda broken: broken.what)
def test_a_broken_fragment_is_reported_with_its_line_and_what_was_expected(
    layout: Layout, broken: Broken
) -> None:
    file = write(layout, f"50-{broken.what}.py", broken.text)
    problems = errors(layout)
    assert [(p.file, p.line) for p in problems] == [(file, broken.line)], problems
    assert broken.message in problems[0].message


def test_there_are_at_least_forty_broken_fragments() -> None:
    assert len({broken.what for broken in BROKEN}) == len(BROKEN) >= 40


def test_all_problems_are_reported_at_once(layout: Layout) -> None:
    # Some would be a contradiction of others, or overrule them.
    alone = [b for b in BROKEN if b.what in ("syntax", "name", "type", "class", "appended", "loop")]
    expected = [
        (write(layout, f"{number:02}-{broken.what}.py", broken.text), broken.line)
        for number, broken in enumerate(alone)
    ]
    assert [(p.file, p.line) for p in errors(layout)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c.LocalProcessSpawner.popen_kwargs = {'x': 1}", "spawner_class is UnitSpawner"),
        ("c.Authenticator.whitelist = {'alice'}", "deprecated in JupyterHub 1.2"),
        ("c.Spawner.mem_limit = 512", "too little for a server"),
        ("c.Spawner.default_url = 'lab'", "expected a path such as '/lab'"),
        ("c.Spawner.cmd = 'jupyter-labhub'", "expected an absolute path"),
        ("c.JupyterHub.load_groups = {'class': ['root']}", "deprecated since JupyterHub 3.2"),
        ("c.JupyterHub.db_url = 'sqlite://'", "loses all users"),
        ("c.JupyterHub.template_paths = ['/no/templates']", "no directory /no/templates"),
        ("c.PAMAuthenticator.allowed_groups = {'no-such-group'}", "no group 'no-such-group'"),
        ("c.PAMAuthenticator.admin_groups = {'root'}", "does not let members of 'root' log in"),
        ("c.JupyterHub.authenticator_class = 'pam'", "expected no authenticator_class"),
        ("c.JupyterHub.services = [{'name': 'a', 'command': ['/no/such']}]", "no program /no/such"),
        ("c.JupyterHub.services = [{'name': 'a', 'command': ['true'], 'cwd': '/no'}]", "enter /no"),
        ("c.HubProxy.trusted_proxies = ['0.0.0.0/0']", "'0.0.0.0/0' contains every address"),
        ("c.ConfigurableHTTPProxy.debug = True", "proxy_class is HubProxy"),
    ],
)
def test_a_probable_mistake_is_a_warning_and_not_an_error(
    layout: Layout, text: str, message: str
) -> None:
    file = write(layout, "10-a.py", f"\n{text}\n")
    report = check_fragments(layout)
    assert report.errors == []
    (warning,) = report.warnings
    assert str(warning).startswith(f"{file}:2: warning: ")
    assert message in warning.message


def test_what_a_class_compares_with_other_settings_is_judged_with_them(layout: Layout) -> None:
    lines = [
        'c.JupyterHub.authenticator_class = "littlest_hub.hub.ldap.DirectoryAuthenticator"',
        'c.LDAPAuthenticator.server_address = "192.0.2.1"',
        "c.LDAPAuthenticator.bind_dn_template = []",
        "c.Authenticator.allow_all = True",
    ]
    file = write(layout, "41-ldap.py", "\n".join([*lines, "c.LDAPAuthenticator.lookup_dn = True"]))
    assert errors(layout) == []
    write(layout, "41-ldap.py", "\n".join(lines))
    problem = only(errors(layout))
    assert problem.file == file
    assert "requires either lookup_dn or bind_dn_template" in problem.message


def test_a_copy_is_checked_in_place_of_the_fragment(layout: Layout) -> None:
    write(layout, "10-a.py", "c.Spawner.mem_limit = '1Q'\n")
    copy = layout.fragments / ".10-a.x.py"
    copy.write_text("\n\nc.Spawner.mem_limit = '2Q'\nopen(__file__ + 'x')\n")
    fragment = layout.fragments / "10-a.py"
    problems = check_fragments(layout, {fragment: copy}).errors
    assert [(p.file, p.line) for p in problems] == [(str(fragment), 3), (str(fragment), 4)]
    assert ".10-a" not in "".join(p.message for p in problems)


def test_secrets_are_masked_in_messages(layout: Layout) -> None:
    write(layout, "10-a.py", "c.JupyterHub.authenticator_class = 'shared-password'\n"
          "c.SharedPasswordAuthenticator.user_password = 4711471147\n")  # fmt: skip
    assert "4711471147" not in only(errors(layout)).message


@pytest.mark.parametrize(
    "text",
    [
        "c.JupyterHub.db_url = 'postgresql://jh:hunter2@db/hub',",
        "c.JupyterHub.db_url = 'jh:hunter2@db'",
        "c.JupyterHub.db_url = ['hunter2']",
        "c.CryptKeeper.keys = {'hunter2': 1}, 'hunter2'",
        "c.Spawner.environment = ['PASSWORD', 'hunter2']",
        "c.Spawner.environment = {'PIN': [47114711, 'hunter2']}",
        "c.JupyterHub.services = [{'api_token': 'hunter2'}]",
        "c.JupyterHub.services = {'name': 'x', 'api_token': 'hunter2'}",
        "c.JupyterHub.bind_url = 'ftp://jh:hunter2/@x'",
        "raise OSError('no answer from ldap://cn=jh:hunter2@ldap')",
        "open('https://jh:hunter2@example.org/users')",
    ],
)
def test_passwords_are_masked_in_messages(layout: Layout, text: str) -> None:
    file = write(layout, "10-a.py", f"\n{text}\n")
    problems = errors(layout)
    assert {(p.file, p.line) for p in problems} == {(file, 2)}, problems
    assert not any(s in str(p) for p in problems for s in ("hunter2", "47114711")), problems


def test_a_failure_that_names_a_service_has_the_line_of_that_service(layout: Layout) -> None:
    text = "\nc.JupyterHub.services.append({'name': 'first', 'oauth_no_confirm': True})\n"
    file = write(layout, "50-first.py", text)
    write(layout, "60-second.py", "c.JupyterHub.services.append({'name': 'second'})\n")
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)
    assert "Service first has oauth configured" in problem.message
