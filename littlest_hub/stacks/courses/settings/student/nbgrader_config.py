"""nbgrader in servers of people who take part in a course: the exchange, and their login."""

import os

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.Exchange.root = os.environ.get("LITTLEST_HUB_EXCHANGE", "")
# One directory for each course, because a server may show several.
c.Exchange.path_includes_course = True
if login := os.environ.get("JUPYTERHUB_USER"):
    c.CourseDirectory.student_id = login
