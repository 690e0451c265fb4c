"""nbgrader's steps that write cells, grades and penalties, and read grades for feedback."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from nbgrader.api import Gradebook
from nbgrader.preprocessors import AssignLatePenalties, GetGrades, SaveAutoGrades, SaveCells

from littlest_hub.stacks.courses.grading import answers, extensions


class WholeNotebook(SaveCells):  # type: ignore[misc]
    """Writes the cells of a notebook in one step: a killed run leaves those of before.

    nbgrader first removes all of them, and then writes each by itself. Submissions that are graded
    with a part of the cells lose points, and keep nbgrader from writing the others afterwards.
    """

    def _create_notebook(self, nb: Any) -> None:
        db = self.gradebook.db

        def flush() -> None:
            db.flush()
            db.expire_all()  # as a commit does; objects that were removed would be added again

        db.commit = flush
        try:
            super()._create_notebook(nb)
        finally:
            del db.commit
        db.commit()


class SaveGrades(SaveAutoGrades):  # type: ignore[misc]
    """Writes grades of the tests, and lets grades by hand stand if nothing they judge has changed.

    nbgrader keeps grades by hand as well, and asks for another look at all of them.
    """

    def preprocess(self, nb: Any, resources: Any) -> Any:
        """Write the grades of a notebook."""
        ids = resources["nbgrader"]
        names = ids["assignment"], ids["student"], ids["notebook"]
        self._before, self._now = answers.last(*names), answers.fingerprints(nb)
        done = super().preprocess(nb, resources)
        answers.keep(*names, self._now)
        return done

    def _add_score(self, cell: Any, resources: Any) -> None:
        name = cell.metadata["nbgrader"]["grade_id"]
        grade = self.gradebook.find_grade(
            name, self.notebook_id, self.assignment_id, self.student_id
        )
        auto_score = grade.auto_score
        is_done = grade.manual_score is not None and not grade.needs_manual_grade
        super()._add_score(cell, resources)
        is_same = self._before.get(name) == self._now[name] and grade.auto_score == auto_score
        if is_done and is_same:
            grade.needs_manual_grade = False
            self.gradebook.db.commit()


class LatePenalties(AssignLatePenalties):  # type: ignore[misc]
    """Writes late penalties; the course's extensions count."""

    def preprocess(self, nb: Any, resources: Any) -> Any:
        """Write the penalty of a notebook."""
        ids = resources["nbgrader"]
        granted = extensions.read().get((ids["assignment"], ids["student"]))
        with Gradebook(ids["db_url"]) as gradebook:
            submission = gradebook.find_submission(ids["assignment"], ids["student"])
            wanted = submission.extension
            if granted is not None:
                wanted = extensions.length(granted) or None
            if submission.assignment.duedate is None:
                # nbgrader would add it to the date that is not there.
                wanted = None
            if wanted != submission.extension:
                submission.extension = wanted
                gradebook.db.commit()
        return super().preprocess(nb, resources)


def update_penalty(parent: Any, ids: Any) -> None:
    """Write the penalty of a notebook for its present score.

    Args:
        parent: has nbgrader's settings.
        ids: of the notebook: nbgrader's names for assignment, student, notebook and gradebook.
    """
    no_cells = SimpleNamespace(cells=[])
    LatePenalties(parent=parent).preprocess(no_cells, {"nbgrader": ids})


class Grades(GetGrades):  # type: ignore[misc]
    """Reads the grades of a notebook for feedback, with the penalty for the present score."""

    def preprocess(self, nb: Any, resources: Any) -> Any:
        """Put the grades into a notebook."""
        update_penalty(self, resources["nbgrader"])
        return super().preprocess(nb, resources)
