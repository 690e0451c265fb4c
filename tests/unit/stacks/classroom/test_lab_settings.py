"""Settings of JupyterLab for everybody: which files are right, and what servers see of them."""

import json
from pathlib import Path

import pytest

from littlest_hub.layout import Layout
from littlest_hub.stacks.classroom import lab_settings

DARK = '{"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}}'


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(tmp_path / "hub")
    layout.fragments.mkdir(parents=True)
    return layout


@pytest.mark.parametrize("text", ["[]", '{"theme": "dark"}', '{"a:b": "dark"}', "", "{'a:b': {}}"])
def test_what_is_no_settings_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)expect"):
        lab_settings.parse(text)


def test_servers_see_a_copy_until_the_file_is_gone(layout: Layout) -> None:
    file = layout.fragments / lab_settings.FILE
    file.write_text(DARK)
    lab_settings.keep(layout)
    (bind,) = lab_settings.properties(layout)["BindReadOnlyPaths"]
    copy, _, seen = bind.removeprefix("-").partition(":")
    assert json.loads(Path(copy).read_text()) == json.loads(DARK)
    path = lab_settings.variables(layout, "/a")["JUPYTER_CONFIG_PATH"]
    assert seen == f"{path.removeprefix('/a:')}/labconfig/default_setting_overrides.json"
    file.unlink()
    lab_settings.keep(layout)
    assert lab_settings.properties(layout) == {}
    assert lab_settings.variables(layout, "/a") == {}


def test_a_file_with_a_mistake_leaves_the_copy_as_it_was(layout: Layout) -> None:
    file = layout.fragments / lab_settings.FILE
    file.write_text(DARK)
    lab_settings.keep(layout)
    before = lab_settings.properties(layout)
    file.write_text("{")
    with pytest.raises(ValueError, match="line 1"):
        lab_settings.keep(layout)
    assert lab_settings.properties(layout) == before
