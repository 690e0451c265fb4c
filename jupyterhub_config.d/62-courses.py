# Courses with assignments and grades. `littlest-hub enable courses` sets up all of it; this file
# alone is not enough. /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/courses.md
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.courses import hub

# Students and instructors in rosters may log in, besides those whom other fragments allow.
ROSTER_MAY_LOG_IN = True

# How large a submission may be, all of its files together: 1 to 256. Larger ones are refused.
MAX_SUBMISSION_MB = 100

require_enabled("courses")
hub.configure(c, roster_may_log_in=ROSTER_MAY_LOG_IN, max_submission_mb=MAX_SUBMISSION_MB)
