"""Rosters as learning platforms write them, and as somebody hostile does."""

import codecs

import pytest

from littlest_hub.errors import LittlestHubError
from littlest_hub.stacks.courses.course import Student
from littlest_hub.stacks.courses.roster.columns import students_of
from littlest_hub.stacks.courses.roster.table import MAX_BYTES, MAX_ROWS

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Homework 1 (123)
"    Points Possible",,,,,10
"Doe, Jane",1001,S-77,jdoe,Section A,9
"Student, Test",9,,,Section A,
"Roe, Richard",1002,S-78,rroe,Section A,
"""
MOODLE = """\
First name,Surname,ID number,Institution,Department,Email address,Username
Jane,Doe,77,,,jane@example.org,jdoe
"""
BLACKBOARD = (
    '"Last Name"\t"First Name"\t"Username"\t"Student ID"\t"Last Access"\t"Availability"\n'
    '"Doe"\t"Jane"\t"jdoe"\t"77"\t"2026-10-01"\t"Yes"\n'
)


def logins(text: str) -> list[str]:
    return [each.login for each in students_of(text.encode())]


def test_an_export_of_canvas_has_logins_names_and_numbers() -> None:
    assert students_of(CANVAS.encode()) == [
        Student("jdoe", "Jane", "Doe", "", "S-77"),
        Student("rroe", "Richard", "Roe", "", "S-78"),
    ]


def test_an_export_of_moodle_has_logins_names_and_addresses() -> None:
    assert students_of(MOODLE.encode()) == [
        Student("jdoe", "Jane", "Doe", "jane@example.org", "77")
    ]


def test_an_export_of_blackboard_is_utf_16_with_tabs() -> None:
    data = codecs.BOM_UTF16_LE + BLACKBOARD.encode("utf-16-le")
    assert students_of(data) == [Student("jdoe", "Jane", "Doe", "", "77")]


def test_a_list_of_nbgrader_is_a_roster() -> None:
    assert logins("id,first_name,last_name,email\nbob,Bob,B,b@x.org\n") == ["bob"]


def test_a_grade_export_of_moodle_needs_the_name_of_the_column_with_logins() -> None:
    text = b"First name,Surname,Email address\nJane,Doe,jdoe@example.org\n"
    with pytest.raises(LittlestHubError, match="'Email address'") as refused:
        students_of(text)
    assert "--login-column" in str(refused.value)
    (student,) = students_of(text, "email address", strips_domain=True)
    assert student.login == "jdoe"
    with pytest.raises(LittlestHubError, match="no column 'Matrikel'"):
        students_of(text, "Matrikel")


def test_excel_s_marks_semicolons_and_code_page_are_understood() -> None:
    (student,) = students_of("\ufeffusername;Vorname;Nachname\r\nju;Jürgen;Ü\r\n".encode())
    assert student == Student("ju", "Jürgen", "Ü")
    (student,) = students_of("username;Vorname\nju;Jürgen\n".encode("cp1252"))
    assert student.first_name == "Jürgen"


def test_every_wrong_line_is_named_and_none_is_taken() -> None:
    with pytest.raises(LittlestHubError) as refused:
        students_of(b"username\nbob\n../etc\nBob\n\na+b\n")
    column, expected = "column 'username'", "at most 64 letters, digits and . _ @ -"
    assert refused.value.message.splitlines() == [
        "the roster cannot be used:",
        f"line 3, {column}: '../etc' is no login: expected {expected}",
        f"line 4, {column}: bob is on line 2 already",
        f"line 6, {column}: 'a+b' is no login: expected {expected}",
    ]


def test_names_cannot_write_to_a_terminal() -> None:
    (student,) = students_of("username,first name\nbob,\x1b]0;owned\x07B\u202eob\n".encode())
    assert student.first_name == "]0;ownedBob"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no column with logins"),
        (b"\x00\x01", "no text"),
        (b"username\nbo\x00b\n", "line 2, character 3: it contains NUL"),
        (b"username\n" + b"\x81\x8d" * 9, "no text"),
        (b'username\n"bob', "no CSV"),
        (b"username\n" + b"x" * 5000, "more than 4096 characters"),
        (b"username\n" + b"a\n" * (MAX_ROWS + 1), f"more than {MAX_ROWS} rows"),
        (b"x" * (MAX_BYTES + 1), "MB"),
    ],
)
def test_what_is_no_roster_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(LittlestHubError, match=reason):
        students_of(data)
