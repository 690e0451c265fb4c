"""Addresses of this machine and answers of the DNS."""

import pytest

from littlest_hub.system.addresses import dns_problem

pytestmark = pytest.mark.unit


def test_a_name_that_leads_to_another_machine_or_nowhere_is_a_problem() -> None:
    own = {"192.0.2.1", "127.0.0.1"}
    assert dns_problem("a.org", {"192.0.2.1", "2001:db8::1"}, own) == ""
    # From /etc/hosts: the DNS may say something else.
    assert dns_problem("a.org", {"127.0.1.1", "::1"}, own) == ""
    assert "leads to 192.0.2.9, which" in dns_problem("a.org", {"127.0.1.1", "192.0.2.9"}, own)
    assert "leads to 192.0.2.9" in dns_problem("a.org", {"192.0.2.9"}, own)
    assert "cannot be found (no such name)" in dns_problem("a.org", "no such name", own)
