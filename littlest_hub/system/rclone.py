"""rclone (rclone(1)), which serves a folder at a WebDAV server as a mount."""

from __future__ import annotations

import subprocess

PROGRAM = "rclone"
_TIMEOUT_S = 10
# A program that waits for a server cannot be ended before rclone gives up.
_GIVES_UP = ("--contimeout=5s", "--timeout=5s", "--low-level-retries=1", "--retries=1")


def obscured(password: str) -> str:
    """Return a password as rclone's variables have it, which is no encryption.

    Raises:
        OSError, subprocess.SubprocessError: rclone does not run.
    """
    done = subprocess.run(
        [PROGRAM, "obscure", "-"],
        input=password,
        capture_output=True,
        text=True,
        check=True,
        timeout=_TIMEOUT_S,
    )
    return done.stdout.strip()


def variables(
    address: str, user: str, password: str, proxy: str, ca_file: str = ""
) -> dict[str, str]:
    """Return the environment with which rclone finds a folder.

    Args:
        address: of the folder.
        user: name of a person there.
        password: as `obscured` has returned it.
        proxy: address of the proxy through which it is reached.
        ca_file: certificate authorities besides those of the machine; "": none.
    """
    found = {
        # A command line, and a configuration file, could be read by others.
        "RCLONE_WEBDAV_URL": address,
        "RCLONE_WEBDAV_USER": user,
        "RCLONE_WEBDAV_PASS": password,
        "RCLONE_WEBDAV_VENDOR": "nextcloud" if "/remote.php/" in address else "other",
        "HTTP_PROXY": proxy,
        "HTTPS_PROXY": proxy,
    }
    # Go reads the machine's directory of authorities besides (crypto/x509, root_unix.go).
    return found | ({"SSL_CERT_FILE": ca_file} if ca_file else {})


def command(device: int) -> list[str]:
    """Return the command that serves a mount, only to read.

    Args:
        device: a descriptor of /dev/fuse that it inherits, of a file system that is mounted.
    """
    return [
        PROGRAM,
        # Unlike `mount`, it takes a device that is mounted already.
        *("mount2", ":webdav:", f"/dev/fd/{device}"),
        *("--config=", "--cache-dir=/tmp", "--allow-non-empty", "--allow-other", "--read-only"),
        *("--dir-perms=0555", "--file-perms=0444", "--umask=0", "--dir-cache-time=30s"),
        *("--buffer-size=4M", "--log-level=ERROR", *_GIVES_UP),
    ]
