"""The lines about requests of the sampler in the hub's access log."""

from __future__ import annotations

import logging
import re

from littlest_hub.stacks.stats.hub import ENVIRONMENTS_PATH, STACK

_PATHS = rf"api/users\?\S*|api/services/{STACK}|{ENVIRONMENTS_PATH}|metrics"
# A line of jupyterhub.log.log_request. Nobody but a service of this name gets these by that name.
_OF_SAMPLER = re.compile(rf"200 GET \S*/hub/({_PATHS}) \({STACK}@127\.0\.0\.1\) ")


def is_of_interest(record: logging.LogRecord) -> bool:
    """Return whether a line of the access log is none about a sample that was taken."""
    return not _OF_SAMPLER.match(record.getMessage())
