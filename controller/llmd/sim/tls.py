"""TLS for the simulator: a certificate from files, or one made on the spot, for this process only."""

from __future__ import annotations

import datetime as dt
import ssl
import tempfile
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controller.llmd.sim.engine_config import SimConfigError


def server_context(
    certificate: Path | None, key: Path | None, *, self_signed: bool = False
) -> ssl.SSLContext | None:
    """Return the context to serve with; None for plain HTTP. Raise `SimConfigError`, OSError."""
    if (certificate is None) != (key is None):
        raise SimConfigError("give both of --ssl-certfile and --ssl-keyfile, or none")
    if self_signed and certificate is not None:
        raise SimConfigError("give one of --self-signed-certs and --ssl-certfile, not both")
    if certificate is None and not self_signed:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None and key is not None:
        try:
            context.load_cert_chain(certificate, key)
        except ssl.SSLError as error:
            raise SimConfigError(
                f"{certificate} and {key} are no certificate and its key: {error}"
            ) from error
        return context
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:  # ssl reads files only; this one is ours alone
        file.write(self_signed_pem())
        file.flush()
        context.load_cert_chain(file.name)
    return context


def self_signed_pem() -> bytes:
    """Return a key and its certificate for localhost, valid for a year."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lumyn-sim")])
    now = dt.datetime.now(dt.UTC)  # noqa: TID251 - a certificate is dated by the wall clock
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)
