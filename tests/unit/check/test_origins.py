"""The line that a problem is reported at."""

import pytest

from littlest_hub.layout import Layout
from tests.unit.check.fragments import errors, only, write

pytestmark = pytest.mark.unit


def test_a_value_set_in_a_function_is_reported_at_the_statement_there(layout: Layout) -> None:
    text = "def limit(text):\n    c.Spawner.mem_limit = (\n        text\n    )\n\n\nlimit('1Q')\n"
    file = write(layout, "10-a.py", text)
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (file, 2)


def test_a_value_set_in_a_file_that_a_fragment_loads_is_reported_there(layout: Layout) -> None:
    write(layout, "10-a.py", "\nload_subconfig('limits.inc')\n")
    inner = write(layout, "limits.inc", "\n\nc.Spawner.mem_limit = '1Q'\nimport no_such_module\n")
    assert [(p.file, p.line) for p in errors(layout)] == [(inner, 3), (inner, 4)]


def test_an_element_is_reported_at_the_line_that_adds_it(layout: Layout) -> None:
    write(layout, "10-a.py", "c.Authenticator.allowed_users = {'alice'}\n")
    second = write(
        layout,
        "20-b.py",
        "if c.Authenticator.allowed_users:\n    pass\n"
        "c.Authenticator.allowed_users.add('bob smith')\n"
        "c.Authenticator.allowed_users |= {'eve'}\n",
    )
    problem = only(errors(layout))
    assert (problem.file, problem.line) == (second, 3)


def test_a_merge_of_whole_configurations_keeps_the_line(layout: Layout) -> None:
    text = (
        "from traitlets.config import Config\nextra = Config()\nextra.JupyterHub.port = 'x'\n"
        "extra.Spawner.mem_limit = '1Q'\nc.merge(extra)\n"
    )
    file = write(layout, "10-a.py", text)
    assert [(p.file, p.line) for p in errors(layout)] == [(file, 5), (file, 5)]


def test_a_fragment_can_copy_the_configuration(layout: Layout) -> None:
    text = (
        "import copy\nd = copy.deepcopy(c)\ne = c.copy()\nassert d.JupyterHub.hub_port == 15001\n"
    )
    write(layout, "10-a.py", text)
    assert errors(layout) == []


def test_a_fragment_that_fails_does_not_hide_problems_of_others(layout: Layout) -> None:
    first = write(layout, "10-a.py", "import no_such_module\n")
    second = write(layout, "20-b.py", "c.JupyterHub.prot = 1\n1 / 0\n")
    assert [(p.file, p.line) for p in errors(layout)] == [(first, 1), (second, 1), (second, 2)]
