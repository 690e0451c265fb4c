"""A support archive: its files, and the secrets that are removed from them."""

import ast
import base64
import re
import tarfile
from pathlib import Path

import pytest

from littlest_hub import cli
from littlest_hub.check.redaction import REDACTED, Redactor
from littlest_hub.doctor.bundle import write_bundle
from littlest_hub.errors import LittlestHubError
from littlest_hub.layout import Layout

# The beginning of every secret; other words are there to be kept.
S = "s3cr3t"

FRAGMENT = f'''\
import os
from pathlib import Path
c.GitHubOAuthenticator.client_id = "kept-client-id"
c.GitHubOAuthenticator.client_secret = "{S}-client"
c.OAuthenticator.token_url = "https://kept.example/token"
c.JupyterHub.cookie_secret = bytes.fromhex("{"5ec1" * 16}")
c.JupyterHub.services = [
    {{"name": "kept-service", "api_token": "{S}-service-token", "url": "http://127.0.0.1:9"}},
    dict(name="other", api_token='{S}-dict-token'),
]
c.JupyterHub.db_url = "postgresql://hub:{S}-db@kept-db.example/hub"
os.environ["OAUTH_CLIENT_SECRET"] = "{S}-environ"
os.environ.setdefault("API_KEY", "{S}-default")
os.environ.update(SMTP_PASSWORD="{S}-update")
c.Spawner.environment = {{"WANDB_API_KEY": "{S}-wandb", "KEPT": "kept-value"}}
c.Spawner.args = ["--ServerApp.token={S}-arg", "--kept-arg=yes", "--api-key", "{S}-second"]
pw = "{S}-variable"
c.LDAPAuthenticator.bind_dn_password = pw
ldap_password: str = f"{S}-fstring{{pw}}"
c.DummyAuthenticator.password = (
    "{S}-joined"
    "{S}-again"
)
private_key = """
-----BEGIN RSA PRIVATE KEY-----
{S}keylineone
{S}keylinetwo
-----END RSA PRIVATE KEY-----
"""
# the old password: {S}-comment
# the password was: {S}-was
# curl -H 'Authorization: token {S}-header-comment'
def get_password(user, default="kept", secret="{S}-argument"):
    return "{S}-returned"
def allowed(password):
    return password == "{S}-compared"
user, password = "kept-user", "{S}-unpacked"
c.LDAPAuthenticator.server = "kept-ldap"; c.X.set_password("{S}-called")
c.Spawner.cmd = ["sh", "-c", "export HF_TOKEN={S}-shell; exec kept-command"]
c.JupyterHub.cookie_secret_file = "/kept/path"
sentry = "https://{S}-dsn:{S}-dsn2@kept-sentry.example/1"
jwt = decode("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.{S}signature")
kept = ["kept-list", 42]
'''

TEXT = f"""\
Nov 21 python3[1]:   "Authorization": "token {S}-journal-auth",
Nov 21 python3[1]:   "Cookie": "_xsrf={S}-cookie; jupyterhub-hub-login=\\"2|1:0|{S}-login\\"",
Nov 21 python3[1]:   "X-Xsrftoken": "{S}-xsrf",
Nov 21 python3[1]: 302 GET /hub/oauth_callback?code={S}-code&state={S}-state&kept=1
Nov 21 python3[1]: JUPYTERHUB_API_TOKEN={S}-api-token
Nov 21 python3[1]: GET http://kept:{S}-urlpw@kept.example/x
Nov 21 python3[1]: client_secret: {S}-yaml and kept words
Nov 21 python3[1]: bind failed, password={S}-bind
Nov 21 python3[1]: {{'password': '{S}-repr', 'kept': 'kept-too'}}
Nov 21 python3[1]: login with --password {S}-flag refused
Nov 21 python3[1]: Your password is {S}-said
Nov 21 python3[1]: Proxy-Authorization: Basic {base64.b64encode(f"u:{S}-basic".encode()).decode()}
Nov 21 python3[1]: ghp_{S}githubtoken0123456789 kept-after
Environment=KEPT=kept-env
Environment="OAUTH_CLIENT_SECRET={S} with blanks {S}-unit"
Environment=JUPYTERHUB_CRYPT_KEY={S}-crypt
Environment=A=b DB_PASSWORD={S}-three
DB_PASSWORD=abc;def{S}
DB_PASSWORD=abc,d&e<f>{S}"{S}
STORAGE_KEY=ab/cd+{S}/ef==
postgresql://jh:p/w99{S}@kept-db
postgresql://jh:p@w99{S}@kept-db
mysql -p{S} -h kept-mysql
mysqldump -u hub -p{S} hub
users = [ "hub:{{SHA}}{S}KaqZIgAy5nfB7M9PgPvRFsIFEsc=",]
shadow alice:$6$salt${S}cryptedcryptedcrypted
digest 0123456789abcdef0123456789abcdef01234567
-----BEGIN PRIVATE KEY-----
{S}+keyline
-----END PRIVATE KEY-----
"""


def test_a_fragment_loses_its_secrets_and_keeps_its_lines() -> None:
    clean = Redactor().python(FRAGMENT)
    assert S not in clean, clean
    assert "5ec1" not in clean
    assert clean.count("\n") == FRAGMENT.count("\n")
    ast.parse(clean)
    for before, after in zip(FRAGMENT.splitlines(), clean.splitlines(), strict=True):
        # The code up to the first string is as it was.
        code = re.split("[\"'#]", before)[0].rstrip("f")
        assert after.startswith(code) or code.startswith(("-----", S)), (before, after)


@pytest.mark.parametrize(
    "source",
    [
        f'pw = "{S}-pw"\nc.JupyterHub.db_url = f"postgresql://jh:{{pw}}@kept-db/x"',
        f'word = "{S}-w"\nc.JupyterHub.db_url = f"postgresql://jh:{{word}}@kept-db/x"',
        f'word = "{S}-w"\nurl = "postgresql://jh:" + word + "@kept-db/x"',
        f'url = "postgresql://jh:" + "{S}" + "@kept-db/x"',
        f'c.JupyterHub.db_url = "postgresql://jh:p/w99{S}@kept-db/x"',
        f'c.CryptKeeper.keys = ["{S}-one", "{S}-two"]  # kept-db',
        f'c.LTI11Authenticator.consumers = {{"kept-db": "{S}"}}',
        f'c.Spawner.environment = {{"OPENAI_KEY": "{S}", "STORAGE_KEY": "{S}/+x", "A": "kept-db"}}',
        f'user, host = "kept-u", "kept-h"\nx = f"postgresql://{{user}}:{S}@kept-db/{{host}}"',
        f"# mysql -u hub -p{S} kept-db",
        f'a = "{S}"\nx = f"postgresql://jh:{{a}}{S}{{b}}@db/x"',
        f'x = f"postgresql://{{user}}:" + f"{{w}}{S}" + "@kept-db/x"',
    ],
)
def test_a_password_of_a_database_and_a_key_are_secrets(source: str) -> None:
    redactor = Redactor()
    redactor.learn_python(source)
    clean = redactor.python(source)
    assert S not in clean, clean
    # A comment keeps what is no secret; a string is masked as a whole.
    assert ("kept-db" in clean) == ("# " in source), clean
    assert len(clean.splitlines()) == len(source.splitlines())
    ast.parse(clean)


def test_code_and_harmless_strings_of_a_fragment_are_kept() -> None:
    source = (
        "import os\n"
        'c.JupyterHub.authenticator_class = "jupyterhub.auth.PAMAuthenticator"\n'
        'c.JupyterHub.spawner_class = "simple"\n'
        'c.JupyterHub.ssl_key = "/srv/physics/state/hub.pem"\n'
        'c.JupyterHub.bind_url = os.environ["HOME"] or "http" + ":" + "127.0.0.1"\n'
        "c.Spawner.mem_limit = 2 * 1024**3\n"
        "names = sorted(users, key=lambda user: user.age)  # an explanation\n"
    )
    assert Redactor(base=Path("/srv/physics")).python(source) == source


@pytest.mark.parametrize(
    "value",
    [
        "horse.battery.Staple",
        "/srv/physics-2/x",
        "/srv/physics/../../x y",
        "https://x",
        "admin",
        "__main__.X",
    ],
)
def test_every_other_string_of_a_fragment_is_masked(value: str) -> None:
    source = f"x = {value!r}\ny = b{value!r}\n"
    masked = f'x = "{REDACTED}"\ny = b"{REDACTED}"\n'
    assert Redactor(base=Path("/srv/physics")).python(source) == masked


def test_nothing_is_left_of_a_fragment_from_where_its_strings_do_not_end() -> None:
    for quotes in ('"', '"""', 'f"""{x}', "'"):
        clean = Redactor().python(f"kept = 1\nx = {quotes}{S}\nother {S}\n")
        assert S not in clean
        assert clean.startswith("kept = 1\n")
        assert clean.count("\n") == 3


def test_secrets_are_removed_from_a_fragment_with_a_syntax_error() -> None:
    clean = Redactor().python(f'c.X.client_secret = "{S}-a b"\nif if\ntoken = "{S}"\n# kept\n')
    assert S not in clean
    assert "if if" in clean
    assert "# kept" in clean


def test_no_secret_of_a_journal_or_a_unit_is_left() -> None:
    clean = Redactor().text(TEXT)
    assert S not in clean, clean
    assert base64.b64encode(f"u:{S}".encode()).decode()[:8] not in clean
    assert "0123456789abcdef" not in clean
    assert "kept-env" in clean
    assert "kept.example" in clean
    assert clean.count("\n") == TEXT.count("\n")


@pytest.mark.parametrize(
    "line",
    [
        "littlest-hub.user-alice.service: Failed at step CHDIR spawning /opt/x: No such file",
        "LittlestHub user:1058] homeless's server failed to start in 6 seconds, giving up.",
        'PrivateTmp=yes\nTimeoutStopSec=30\nDescription="Littlest Hub: hub"',
        "Passed to the next; keyboard, monkey and turkey; authors of pins",
        "/opt/littlest-hub/releases/2026.11.0/lib/python3.13/site-packages/jupyterhub/app.py",
        "Nov 21 11:02:04 hub-0a28606a systemd[1]: Started littlest-hub.service.",
        "c.JupyterHub.cookie_max_age_days = 3",
        "GET http://127.0.0.1:8081/hub/api/users/alice@example.org (alice@10.0.0.1) 3.4ms",
        "GET https://hub.example.org:8443/user/alice@example.org/lab",
        "KeyError: 'nothing'",
        "littlest-hub restore -p x",
    ],
)
def test_messages_that_explain_a_failure_are_kept(line: str) -> None:
    assert Redactor().text(line) == line


def test_a_known_secret_is_masked_in_every_place_and_encoding() -> None:
    value = "correct horse battery"
    redactor = Redactor([value])
    for text in (
        f"GET /x?q={value}",
        base64.b64encode(value.encode()).decode(),
        base64.b64encode(f"u:{value}:v".encode()).decode(),
        base64.urlsafe_b64encode(f"us:{value}".encode()).decode(),
        value.encode().hex(),
        "correct%20horse%20battery",
    ):
        clean = redactor.text(f"before {text} after")
        assert REDACTED in clean, text
        assert "horse" not in clean
        assert value.encode().hex() not in clean
        assert base64.b64encode(b"horse batte").decode()[2:-2] not in clean


def test_a_secret_of_one_fragment_is_masked_in_every_file() -> None:
    redactor = Redactor()
    redactor.learn_python(f'password = "{S}-plain word"')
    assert S not in redactor.text(f"refused: {S}-plain word for alice")


def test_a_bundle_contains_helpful_files_and_no_known_secret(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "hub")
    for directory in (layout.fragments, layout.dynamic_config, layout.hub / "conda-meta"):
        directory.mkdir(parents=True)
    (layout.fragments / "10-secret.py").write_text(FRAGMENT)
    layout.cookie_secret.write_text("c00kie" * 8 + "\n")
    (layout.state / "oauth.token").write_text("plainwordtoken\n")
    layout.routes.write_text(f'users = [ "hub:{{SHA}}{S}=",]\n')
    (layout.hub / "conda-meta" / "jupyterhub-6.1.1-py.json").write_text("{}")

    def run(*command: str) -> str:
        return f"{TEXT}\nthe word plainwordtoken and {'c00kie' * 8}\n{' '.join(command)}\n"

    file = tmp_path / "bundle.tar.gz"
    write_bundle(layout, '{"format": 1}', file, run)
    assert file.stat().st_mode & 0o777 == 0o600
    with tarfile.open(file) as tar:
        names = tar.getnames()
        content = b"".join(
            found.read() for info in tar if (found := tar.extractfile(info)) is not None
        ).decode()
    assert "bundle/jupyterhub_config.d/10-secret.py" in names
    assert "jupyterhub-6.1.1-py" in content
    for secret in (S, "plainwordtoken", "c00kie"):
        assert secret not in content
        for offset in range(3):
            encoded = base64.b64encode(b"x" * offset + secret.encode()).decode()
            assert encoded[4 if offset else 0 : -4] not in content
    with pytest.raises(LittlestHubError):
        write_bundle(layout, "{}", file, run)


@pytest.mark.parametrize("name", ["mine", "missing/new.tar.gz"])
def test_a_bundle_that_cannot_be_written_is_refused_before_anything_is_examined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "mine").touch()
    monkeypatch.setattr("littlest_hub.installation.of_this_release", lambda: Layout(tmp_path))
    monkeypatch.setattr("littlest_hub.doctor.examine", lambda *_, **__: pytest.fail("examined"))
    with pytest.raises(LittlestHubError, match=r"exists|no directory"):
        cli.command(["doctor", "--bundle", str(tmp_path / name)])()
