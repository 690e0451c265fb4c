"""The files of a course: fetched from a repository, copied from another course, exported."""
