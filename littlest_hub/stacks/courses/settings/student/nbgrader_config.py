"""nbgrader in servers of people who take part in a course: the exchange, and their login."""

import os

c = get_config()  # type: ignore[name-defined]  # noqa: F821
c.Exchange.root = os.environ.get("LITTLEST_HUB_EXCHANGE", "")
# One directory for each course, because a server may show several.
c.Exchange.path_includes_course = True
if limit_mb := os.environ.get("LITTLEST_HUB_SUBMISSION_MB"):
    # Somewhat less than what is collected, since two files are added. No file is left out unseen.
    c.CourseDirectory.max_dir_size = int(limit_mb) * 1000
    c.CourseDirectory.max_file_size = int(limit_mb) * 1000
if login := os.environ.get("JUPYTERHUB_USER"):
    c.CourseDirectory.student_id = login
