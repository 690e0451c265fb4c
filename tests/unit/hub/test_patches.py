"""Patches of upstream code: what they replace is there, and what happens if it is not."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import jupyterhub
import pytest
from jupyterhub import orm
from jupyterhub.apihandlers import default_handlers
from jupyterhub.handlers import login
from jupyterhub.user import User

from littlest_hub.errors import LittlestHubError
from littlest_hub.hub import TESTED_JUPYTERHUB, patches

pytestmark = pytest.mark.unit

LOG = logging.getLogger(__name__)


def test_patches_were_tested_with_the_jupyterhub_that_is_shipped() -> None:
    environment = (Path(__file__).parents[3] / "environment.yml").read_text()
    (version,) = re.findall(r"- jupyterhub ==([\d.]+)$", environment, re.MULTILINE)
    assert version == TESTED_JUPYTERHUB == jupyterhub.__version__


def test_another_jupyterhub_gets_only_the_fixes_of_vulnerabilities(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    replaced = (User, "delete_spawners"), (orm, "check_db_revision"), (login, "Template")
    for owner, name in replaced:
        monkeypatch.setattr(owner, name, None)
    monkeypatch.setattr(jupyterhub.user, "quote", str)
    monkeypatch.setattr(jupyterhub, "__version__", "6.2.0")
    patches.apply(LOG)
    assert [getattr(owner, name) for owner, name in replaced] == [None, None, None]
    assert jupyterhub.user.quote("a-b") == "a%2Db"
    (record,) = caplog.records
    assert "JupyterHub is 6.2.0; expected 6.1.1" in record.message


def test_a_vulnerability_that_cannot_be_fixed_keeps_the_hub_from_starting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(User, "_new_spawner", lambda *_: None)
    with pytest.raises(LittlestHubError, match="CVE-2026-108752"):
        patches.apply(LOG)


def test_batchspawners_api_in_another_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "default_handlers", [])
    with pytest.raises(LittlestHubError, match="batchspawner has its API in another place"):
        patches.replace_batchspawner_handler(type(default_handlers))
