"""The metric of environments has as many names as fit, whatever people launch."""

from jupyterhub.scopes import define_custom_scopes
from prometheus_client import REGISTRY

from littlest_hub.stacks.stats.hub import ENVIRONMENTS_SCOPE, FAILURES_SCOPE
from littlest_hub.stacks.stats.store.environments import MOST


def shown() -> dict[str, float]:
    """Return numbers of servers by environment, as Prometheus reads them."""
    (metric,) = (e for e in REGISTRY.collect() if e.name == "littlest_hub_environment_servers")
    return {each.labels["environment"]: each.value for each in metric.samples}


def test_prometheus_reads_the_most_common_environments_and_none_that_is_gone() -> None:
    define_custom_scopes(
        {scope: {"description": scope} for scope in (ENVIRONMENTS_SCOPE, FAILURES_SCOPE)}
    )
    # It needs the scopes, which the stack's fragment makes.
    from littlest_hub.stacks.stats.hub_page import show_servers

    show_servers([*(f"host/{number}" for number in range(2 * MOST)), "class", "class", ""])
    found = shown()
    assert len(found) == MOST + 2
    assert (found["class"], found["the hub's own"], found["others"]) == (2, 1, MOST + 1)
    show_servers(["", ""])
    assert shown() == {"the hub's own": 2, "others": 0}
