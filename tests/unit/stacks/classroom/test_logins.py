"""The kinds of login of a class, as its fragment configures them."""

import pytest
from traitlets.config import Config

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.classroom import logins


def test_system_accounts_stay_as_they_are_and_the_teacher_is_one_more_administrator() -> None:
    c = Config()
    c.Authenticator.admin_users = {"alice"}
    logins.configure(c, "system", "teacher")
    assert c.Authenticator.admin_users == {"alice", "teacher"}
    assert "authenticator_class" not in c.JupyterHub


def test_other_logins_are_those_of_another_fragment() -> None:
    c = Config()
    c.JupyterHub.authenticator_class = "littlest_hub.hub.oauth.OIDCAuthenticator"
    logins.configure(c, "other", "")
    assert c.JupyterHub.authenticator_class == "littlest_hub.hub.oauth.OIDCAuthenticator"


@pytest.mark.parametrize("login", ["system", "first-use", "sign-up"])
def test_two_fragments_with_logins_are_refused(login: str) -> None:
    c = Config()
    c.JupyterHub.authenticator_class = "shared-password"
    with pytest.raises(LittlestHubError, match='shared-password; expected LOGIN = "other"'):
        logins.configure(c, login, "")


def test_an_unknown_kind_of_login_is_refused_with_those_there_are() -> None:
    with pytest.raises(LittlestHubError, match="expected one of system, first-use, sign-up, other"):
        logins.configure(Config(), "nis", "")
