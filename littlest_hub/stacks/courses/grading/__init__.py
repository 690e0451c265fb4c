"""Grading: submissions collected, run in isolation, and graded by a course's grader."""
