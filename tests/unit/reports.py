"""A request in which a job reports to the hub, for tests of the handlers that accept reports."""

from __future__ import annotations

from typing import Any


class Request:
    """The part of a handler that JupyterHub implements, with a user, a token and a body."""

    def __init__(self, user: Any, token: str, body: object) -> None:
        self.user, self.token, self.body = user, token, body

    @property
    def current_user(self) -> Any:
        return self.user

    def get_auth_token(self) -> str:
        return self.token

    def get_json_body(self) -> object:
        return self.body

    def set_status(self, status: int) -> None:
        self.status = status

    def finish(self, body: str) -> None:
        pass
