"""PAM: pam(3), called by ctypes."""

# mypy: disallow-untyped-decorators=False

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_char_p, c_int, c_void_p
from typing import Any, NamedTuple

# _pam_types.h of Linux-PAM
_SUCCESS, _CONVERSATION_ERROR = 0, 19
_PROMPT_ECHO_OFF, _PROMPT_ECHO_ON = 1, 2
_FAIL_DELAY_ITEM = 10
_REINITIALIZE_CRED = 0x8

FLAGS = {
    "authenticate": 0,
    "acct_mgmt": 0,
    "setcred": _REINITIALIZE_CRED,
    "open_session": 0,
    "close_session": 0,
}
"""PAM's functions, and the flags that they are called with."""


class Outcome(NamedTuple):
    """The result of a transaction."""

    refusal: str
    """PAM's reason why not; "": success."""
    messages: list[str]
    """Messages of modules to the user."""


class _Message(ctypes.Structure):
    _fields_ = (("style", c_int), ("text", c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", c_void_p), ("code", c_int))


_CONVERSE = ctypes.CFUNCTYPE(
    c_int, c_int, POINTER(POINTER(_Message)), POINTER(POINTER(_Response)), c_void_p
)
_DELAY = ctypes.CFUNCTYPE(None, c_int, ctypes.c_uint, c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = (("converse", _CONVERSE), ("data", c_void_p))


@_DELAY
def _no_delay(code: int, delay_us: int, data: int | None) -> None:
    """Return at once: the caller waits after a failure, and not in a process that does nothing."""


def transact(service: str, name: bytes, answers: Sequence[bytes], steps: Sequence[str]) -> Outcome:
    """Run a transaction of PAM for a user, up to the first step that fails.

    Args:
        service: name of the file in /etc/pam.d.
        name: of the user.
        answers: to the prompts of modules, in their order.
        steps: names in FLAGS.
    """
    libpam = ctypes.CDLL("libpam.so.0")
    libpam.pam_strerror.restype = c_char_p
    messages: list[str] = []
    converse = _conversation(list(answers), messages)
    handle = c_void_p()
    # Kept in a variable: PAM keeps a pointer to it.
    conversation = _Conversation(converse, None)
    code = libpam.pam_start(
        service.encode(), name, ctypes.byref(conversation), ctypes.byref(handle)
    )
    if code == _SUCCESS:
        libpam.pam_set_item(handle, _FAIL_DELAY_ITEM, _no_delay)
        for step in steps:
            code = getattr(libpam, f"pam_{step}")(handle, FLAGS[step])
            # Credentials are for programs that the user starts; none follow here.
            if code != _SUCCESS and step != "setcred":
                break
            code = _SUCCESS
    refusal = "" if code == _SUCCESS else libpam.pam_strerror(handle, code).decode()
    libpam.pam_end(handle, code)
    return Outcome(refusal, messages)


def _conversation(answers: list[bytes], messages: list[str]) -> Any:
    """Return the function with which PAM asks and tells the user (pam_conv(3))."""
    libc = ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = c_void_p

    @_CONVERSE
    def converse(count: int, asked: Any, replies: Any, data: int | None) -> int:
        # PAM frees it.
        array = ctypes.cast(libc.calloc(count, ctypes.sizeof(_Response)), POINTER(_Response))
        replies[0] = array
        for index in range(count):
            message = asked[index].contents
            if message.style not in (_PROMPT_ECHO_OFF, _PROMPT_ECHO_ON):
                messages.append((message.text or b"").decode(errors="replace").strip())
            elif not answers:
                return _CONVERSATION_ERROR
            else:
                array[index].text = libc.strdup(answers.pop(0))
        return _SUCCESS

    return converse
