"""Certificates for the servers of the compose file: each its own key, all by an authority that is forgotten at once.

    python -m config.certificates /tls web worker … --servers web postgres redis

Into /tls/NAME: `key.pem`, `certificate.pem`, and `authority.pem`, which is all that anybody there trusts. Nothing is
done while what is there is good for RENEW_BEFORE more. Else all are made anew together, and `authority.pem` keeps the
authority before beside the new one, so that who has not been restarted yet is still known. Stopped half-way, the next
start begins again.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

GOOD_FOR = timedelta(days=825)
RENEW_BEFORE = timedelta(days=90)
# PostgreSQL and Redis run as accounts of their own, in images that are not ours, and alone see these directories.
READ_BY_OTHERS = ("postgres", "redis")
LAST = "certificate.pem"  # written last of all: with it, a directory is whole


def make(
    root: Path, names: list[str], servers: list[str], trusting: list[str], *, now: datetime | None = None
) -> bool:
    """Make what is missing or ends soon; whether anything was. `trusting` get `authority.pem` alone."""
    now = now or datetime.now(UTC)
    if all(_is_good(root / name, now) for name in names) and all(
        (root / name / "authority.pem").exists() for name in trusting
    ):
        return False
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name(f"Timebridge authority of {now:%Y-%m-%d}")
    authority = (
        _builder(authority_name, authority_name, authority_key, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    bundles = {name: _bundle(root / name, authority, now) for name in [*names, *trusting]}
    for name in names:
        (root / name / LAST).unlink(missing_ok=True)
    for name, bundle in bundles.items():
        _write(root / name / "authority.pem", bundle, 0o644)
    for name in names:
        key = ec.generate_private_key(ec.SECP256R1())
        purposes = [ExtendedKeyUsageOID.CLIENT_AUTH] if name != "postgres" else []
        purposes += [ExtendedKeyUsageOID.SERVER_AUTH] if name in servers else []
        certificate = (
            _builder(_name(name), authority_name, key, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name), x509.DNSName("localhost")]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        _write(root / name / "key.pem", private, 0o644 if name in READ_BY_OTHERS else 0o600)
        _write(root / name / LAST, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return True


def _is_good(place: Path, now: datetime) -> bool:
    try:
        found = x509.load_pem_x509_certificate((place / LAST).read_bytes())
        known = x509.load_pem_x509_certificates((place / "authority.pem").read_bytes())
    except (OSError, ValueError):
        return False
    return found.not_valid_after_utc - now > RENEW_BEFORE and found.issuer in [one.subject for one in known]


def _bundle(place: Path, authority: x509.Certificate, now: datetime) -> bytes:
    """The new authority, and of those before what has not ended."""
    before: list[x509.Certificate] = []
    if (place / "authority.pem").exists():
        before = x509.load_pem_x509_certificates((place / "authority.pem").read_bytes())
    kept = [authority, *(one for one in before if one.not_valid_after_utc > now)]
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in kept)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks differ
        .not_valid_after(now + GOOD_FOR)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all, and never readable by more than `mode` says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
    partial.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--servers", nargs="*", default=[])
    parser.add_argument("--trusting", nargs="*", default=[])
    given = parser.parse_args()
    made = make(given.root, given.names, given.servers, given.trusting)
    sys.stdout.write("Made anew: restart what uses them.\n" if made else "Good for a while.\n")


if __name__ == "__main__":
    main()
