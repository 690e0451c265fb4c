"""Courses with assignments that are handed out, handed in and graded with nbgrader."""

from littlest_hub.layout import PackageSet
from littlest_hub.manifest.manifest import Manifest

MANIFEST = Manifest(
    name="courses",
    title="courses with assignments and grades (nbgrader): `littlest-hub course create NAME`",
    fragments=("62-courses.py",),
    packages={PackageSet.SERVER: ("nbgrader==0.9.6",)},
    units="littlest_hub.stacks.courses.units:units",
    commands={"course": "littlest_hub.stacks.courses.command:run"},
    check=("littlest_hub.stacks.courses.rules:groups",),
    doctor=("littlest_hub.stacks.courses.probe:courses",),
    after_enable="littlest_hub.stacks.courses.command:after_enable",
    after_disable="littlest_hub.stacks.courses.administration:after_disable",
    ends="close the pages at which courses are graded, and show students no assignments",
    leaves="the list of courses with their rosters. Directories of courses, the exchange and the"
    " graders' accounts stay as well",
    page="docs/how-to/courses.md",
    tests=(
        "tests/unit/stacks/courses/test_course.py",
        "tests/unit/stacks/courses/test_grading.py",
        "tests/unit/stacks/courses/test_lti.py",
        "tests/unit/stacks/courses/test_nodes.py",
        "tests/unit/stacks/courses/test_page.py",
        "tests/unit/stacks/courses/test_roster.py",
        "tests/unit/stacks/courses/test_sources.py",
        "tests/unit/stacks/courses/test_units.py",
        "tests/container/test_courses.py",
        "tests/container/test_courses_cycle.py",
        "tests/container/test_courses_files.py",
        "tests/container/test_courses_grading.py",
        "tests/container/test_courses_life.py",
        "tests/container/test_courses_lti.py",
        "tests/container/test_courses_page.py",
        "tests/browser/test_courses.py",
        "tests/cluster/test_courses.py",
        "tests/vm/test_courses_memory.py",
    ),
)
