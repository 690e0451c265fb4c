# Statistics at /services/stats/. `littlest-hub enable stats` sets up all of it; this file alone is
# not enough. /opt/littlest-hub/hub/share/littlest-hub/docs/how-to/statistics.md
from littlest_hub.manifest.enabled import require_enabled
from littlest_hub.stacks.stats import hub

# How often servers are counted and measured, in seconds.
EVERY_S = 60
# How long figures are kept, in days on which the hub has run: those of each minute, the sums of
# hours, and the sums of days. What is older is deleted; its sums stay.
KEEP_MINUTES_DAYS = 7
KEEP_HOURS_DAYS = 60
KEEP_DAYS = 400
# The first day of the term, "2026-10-01"; "": the term is the last 120 days.
TERM_BEGINS = ""
# Which groups of the hub instructors may see, by the group that the instructors are in:
# {"teachers-physics": ["physics", "physics-lab"]}. Administrators see all; everybody else sees
# their own figures.
INSTRUCTORS = {}
# True lets Prometheus read the hub's metrics, with a token of its own: littlest-hub stats token
PROMETHEUS = False

require_enabled("stats")
hub.configure(c, globals())
