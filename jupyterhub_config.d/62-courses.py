# Courses with assignments and grades. `littlest-hub enable courses` sets up all of it; this file
# alone is not enough. /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/courses.md
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.courses import hub

# Students and instructors in rosters may log in, besides those whom other fragments allow.
ROSTER_MAY_LOG_IN = True

require_enabled("courses")
hub.configure(c, roster_may_log_in=ROSTER_MAY_LOG_IN)
