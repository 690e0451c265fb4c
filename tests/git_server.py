"""A server of git repositories over https on this machine, and names of hosts as tests want them.

git's own http-backend answers (git-http-backend(1)), or a function of the test, which may do what a
malicious server does.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST, OTHER_HOST = "git.example.org", "other.example.org"
_ROLES = ("AUTHOR", "COMMITTER")
Behavior = Callable[["Handler"], None]


def git(directory: Path, *arguments: str, data: bytes = b"", check: bool = True) -> str:
    """Run git in a repository of a test, and return what it prints."""
    done = subprocess.run(
        ["git", "-C", str(directory), *arguments],
        input=data,
        capture_output=True,
        env={
            **{f"GIT_{who}_NAME": "test" for who in _ROLES},
            **{f"GIT_{who}_EMAIL": "test@example.org" for who in _ROLES},
            **{f"GIT_{who}_DATE": "1700000000 +0000" for who in _ROLES},
            **{"GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent", "PATH": os.environ["PATH"]},
        },
    )
    assert not check or done.returncode == 0, done.stderr
    return done.stdout.decode(errors="replace").strip()


class Repository:
    """A bare repository.

    Args:
        directory: does not exist yet.
        options: of git init.
    """

    def __init__(self, directory: Path, *options: str) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        git(directory, "init", "--quiet", "--bare", "--initial-branch=main", *options)
        git(directory, "config", "http.uploadpack", "true")
        git(directory, "config", "uploadpack.allowFilter", "true")

    def git(self, *arguments: str, data: bytes = b"") -> str:
        """Run git here."""
        return git(self.directory, *arguments, data=data)

    def commit(self, files: Mapping[str, bytes | str], branch: str = "main", *parents: str) -> str:
        """Make a commit with these files, and return its name; "100755 a" has a mode too."""
        marks = []
        for name, content in files.items():
            mode, _, path = name.rpartition(" ") if name[:1] == "1" else ("100644", "", name)
            marks.append((mode, path, content.encode() if isinstance(content, str) else content))
        lines = [f"commit refs/heads/{branch}\ncommitter t <t@example.org> 1700000000 +0000"]
        lines += ["data 1\nx", *(f"{'merge' if n else 'from'} {p}" for n, p in enumerate(parents))]
        data = "\n".join([*lines, "deleteall", ""]).encode()
        for mode, path, content in marks:
            quoted = json.dumps(path, ensure_ascii=False)
            data += f"M {mode} inline {quoted}\ndata {len(content)}\n".encode() + content + b"\n"
        self.git("fast-import", "--quiet", "--force", data=data)
        return self.git("rev-parse", f"refs/heads/{branch}")

    def tree(self, entries: Iterable[tuple[str, bytes, str]]) -> str:
        """Write a tree that git itself would not make, of modes, names and objects."""
        data = b"".join(
            mode.encode() + b" " + name + b"\0" + bytes.fromhex(object_)
            for mode, name, object_ in entries
        )
        return self.git("hash-object", "-t", "tree", "-w", "--stdin", "--literally", data=data)

    def blob(self, content: bytes) -> str:
        """Write the content of a file."""
        return self.git("hash-object", "-w", "--stdin", data=content)

    def commit_tree(self, tree: str, branch: str = "main") -> str:
        """Make a commit of a tree."""
        commit = self.git("commit-tree", "-m", "x", tree)
        self.git("update-ref", f"refs/heads/{branch}", commit)
        return commit


class Handler(BaseHTTPRequestHandler):
    """Answers a request with http-backend, or as the test says."""

    server: GitServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        self.close_connection = True
        self.server.requests.append((self.command, self.path, dict(self.headers)))
        size = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(size)
        for prefix, behavior in self.server.behaviors.items():
            if self.path.startswith(prefix):
                behavior(self)
                return
        self.backend()

    def redirect(self, location: str) -> None:
        """Answer that it is elsewhere."""
        self.send_response(302)
        self.send_header("Location", location)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def say(self, kind: str, body: bytes, **headers: str) -> None:
        """Answer a part of git's protocol."""
        self.send_response(200)
        self.send_header("Content-Type", f"application/x-git-upload-pack-{kind}")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def backend(self, protocol: str | None = None) -> None:
        """Let http-backend answer."""
        path, _, query = self.path.partition("?")
        environment = {
            **{"GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1"},
            **{"PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command},
            **{"CONTENT_TYPE": self.headers.get("Content-Type") or "", "HOME": "/nonexistent"},
            **{"CONTENT_LENGTH": str(len(self.body)), "PATH": os.environ["PATH"]},
            "GIT_PROTOCOL": (self.headers.get("Git-Protocol") or "")
            if protocol is None
            else protocol,
        }
        done = subprocess.run(
            ["git", "http-backend"], input=self.body, env=environment, capture_output=True
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if line)
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class GitServer(socketserver.ThreadingTCPServer):
    """Repositories below a directory, over https.

    Args:
        directory: an empty one.
        address: where it listens.
        port: there; 0: any.
        hosts: the names of its certificate.
    """

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        directory: Path,
        address: str = "127.0.0.1",
        port: int = 0,
        hosts: Sequence[str] = (HOST, OTHER_HOST, "localhost"),
    ) -> None:
        self.root = directory / "repositories"
        self.root.mkdir(parents=True)
        self.behaviors: dict[str, Behavior] = {}
        """Functions that answer instead of http-backend, by the beginning of the path."""
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.ca_file, certificate = _certificates(directory, hosts)
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(certificate)
        super().__init__((address, port), Handler)
        self.port = int(self.server_address[1])
        self.place = f"{HOST}:{self.port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def finish_request(self, request: Any, client_address: Any) -> None:
        try:
            request.settimeout(5)
            with self._tls.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            pass  # the client has gone, which tests want to see

    def url(self, name: str) -> str:
        """Return the address of a repository."""
        return f"https://{self.place}/{name}"

    def repository(self, name: str, *options: str) -> Repository:
        """Make a repository."""
        return Repository(self.root / name, *options)


class Names:
    """A program that looks up names, as tests want it: it answers at a socket.

    Args:
        place: the socket.
        answers: the addresses of a host, one list for each time that it is asked; the last one is
            for all further times.
    """

    def __init__(self, place: Path, answers: Mapping[str, list[list[str]]]) -> None:
        self.place = place
        self.asked: list[str] = []
        self.answers = {name: [*lists] for name, lists in answers.items()}
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(place))
        self._listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as stream:
                name = stream.read().decode()
                self.asked.append(name)
                lists = self.answers.get(name, [[]])
                found = lists.pop(0) if len(lists) > 1 else lists[0]
                connection.sendall(json.dumps({"addresses": found, "own": []}).encode())


def _certificates(directory: Path, hosts: Sequence[str]) -> tuple[Path, Path]:
    """Make a certificate authority, and the certificate and key of a server in one file."""
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(each) for each in hosts]
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    authority, own = (
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("Test CA", HOST)
    )

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_ca: bool) -> bytes:
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()),
                critical=False,
            )
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
        )
        if is_ca:
            usage = x509.KeyUsage(
                digital_signature=False,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=True,
                crl_sign=True,
                encipher_only=False,
                decipher_only=False,
            )
            built = built.add_extension(usage, critical=True)
        return built.sign(keys[0], SHA256()).public_bytes(Encoding.PEM)

    ca_file, own_file = directory / "ca.pem", directory / "server.pem"
    ca_file.write_bytes(certificate(authority, keys[0], is_ca=True))
    secret = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    own_file.write_bytes(certificate(own, keys[1], is_ca=False) + secret)
    return ca_file, own_file


class Guard:
    """Opens repositories to one name and password, and notes which requests contained any.

    Args:
        directory: has the name and the password in the file `password`, "NAME:PASSWORD"; the notes
            are in `sent`, a line for each request: the host, and whether it contained a password.
    """

    def __init__(self, directory: Path) -> None:
        self._password, self._sent = directory / "password", directory / "sent"

    def private(self, handler: Handler) -> None:
        """Answer for a repository that is private."""
        self._note(handler)
        expected = base64.b64encode(self._password.read_bytes()).decode()
        if handler.headers.get("Authorization") == f"Basic {expected}":
            handler.backend()
            return
        handler.send_response(401)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def moved(self, handler: Handler) -> None:
        """Answer that a repository is at the other host."""
        self._note(handler)
        place = f"{OTHER_HOST}:{handler.server.port}"
        handler.redirect(f"https://{place}{handler.path.removeprefix('/moved')}")

    def _note(self, handler: Handler) -> None:
        host = str(handler.headers["Host"]).partition(":")[0]
        with self._sent.open("a") as file:
            print(host, "Authorization" in handler.headers, file=file)


def main() -> None:
    """Serve repositories at an address until this process ends, and print the port first.

    There is one, `a`. More are made in the directory, by any process. Those whose names begin with
    "private" need a password (`Guard`); "moved/NAME" is NAME at the other host.
    """
    directory = Path(sys.argv[1])
    server = GitServer(directory, sys.argv[2])
    guard = Guard(directory)
    server.behaviors |= {"/private": guard.private, "/moved/": guard.moved}
    server.repository("a").commit({"requirements.txt": "six\n"})
    print(server.port, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
