"""Print the certificates that Mozilla's certdata.txt trusts to name servers, as PEM.

The file is a list of objects, blank lines between them, each a list of `NAME TYPE VALUE`; values
of type MULTILINE_OCTAL are lines of \\ooo up to END. A certificate's trust is an object of its own
with the SHA-1 of the certificate.
"""

from __future__ import annotations

import hashlib
import re
import ssl
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

Attributes = dict[str, "str | bytes"]


def objects(lines: Iterable[str]) -> Iterator[Attributes]:
    """The objects of a certdata.txt, binary values decoded."""
    found: Attributes = {}
    rest = iter(lines)
    for line in rest:
        if line.startswith("#") or line.startswith("BEGINDATA"):
            continue
        name, _, value = line.strip().partition(" ")
        if not name:
            if found:
                yield found
            found = {}
        elif value.startswith("MULTILINE_OCTAL"):
            octal: list[str] = []
            for part in rest:
                if part.startswith("END"):
                    break
                octal += re.findall(r"\\([0-7]{3})", part)
            found[name] = bytes(int(digits, 8) for digits in octal)
        else:
            found[name] = value.partition(" ")[2]
    if found:
        yield found


def trusted(everything: list[Attributes]) -> Iterator[tuple[str, bytes]]:
    """Label and DER bytes of each certificate that may vouch for a server."""
    vouching = {
        entry["CKA_CERT_SHA1_HASH"]
        for entry in everything
        if entry.get("CKA_CLASS") == "CKO_NSS_TRUST"
        and entry.get("CKA_TRUST_SERVER_AUTH") == "CKT_NSS_TRUSTED_DELEGATOR"
    }
    for entry in everything:
        der = entry.get("CKA_VALUE")
        if entry.get("CKA_CLASS") != "CKO_CERTIFICATE" or not isinstance(der, bytes):
            continue
        if hashlib.sha1(der).digest() in vouching:
            yield str(entry["CKA_LABEL"]).strip('"'), der


def main() -> None:
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    for label, der in trusted(list(objects(lines))):
        print(f"# {label}\n{ssl.DER_cert_to_PEM_cert(der)}")


if __name__ == "__main__":
    main()
