"""Self-signed certificates of every kind."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def make(
    directory: Path,
    *names: str,
    days: tuple[float, float] = (-1, 2),
    password: bytes | None = None,
) -> tuple[Path, Path]:
    """Write a certificate and its key, and return the files.

    Args:
        directory: the directory to write them to.
        names: host names and addresses in the certificate; the first one names the files.
        days: the start and the end of its validity, in days from now.
        password: the key's passphrase.
    """
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    since, until = (now + datetime.timedelta(each) for each in days)
    serial = x509.random_serial_number()
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), serial, since, until)
        .add_extension(x509.SubjectAlternativeName(list(map(_name, names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    protection = BestAvailableEncryption(password) if password else NoEncryption()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)
    files = directory / f"{names[0]}.crt", directory / f"{names[0]}.key"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(pem)
    return files


def trusting(authority: str) -> ssl.SSLContext:
    """Return what trusts certificates of an authority, whatever time it is here.

    A machine whose clock is set has certificates of another time.
    """
    context = ssl.create_default_context(cadata=authority)
    # X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for.
    context.verify_flags |= ssl.VerifyFlags(0x200000)
    return context


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
