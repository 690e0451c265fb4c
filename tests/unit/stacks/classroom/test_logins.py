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


def test_an_unknown_kind_of_login_is_refused_with_those_there_are() -> None:
    with pytest.raises(LittlestHubError, match="expected one of system, other"):
        logins.configure(Config(), "nis", "")
