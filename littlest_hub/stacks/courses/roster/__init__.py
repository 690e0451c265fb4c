"""Rosters: the students of a course, from files of learning platforms and from the gradebook."""
