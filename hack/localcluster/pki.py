"""Certificates and kubeconfigs of one cluster, made anew at every start and thrown away with it."""

import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALIDITY = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate authority."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class User:
    """A client certificate: the user and its groups, as the API server's x509 authenticator reads them."""

    file: str
    name: str
    groups: Sequence[str] = ("system:masters",)


USERS = (
    User("admin", "localcluster-admin"),
    User("controller-manager", "system:kube-controller-manager", ()),
    User("scheduler", "system:kube-scheduler", ()),
    User("proxy", "system:kube-proxy", ()),
    User("kubelet", "system:node:node-1", ("system:nodes",)),
    # The companions are processes of the test cluster itself; they get no finer role than the person who started it.
    User("companion", "localcluster-companion"),
)


def create(folder: Path, *, server: str, addresses: Sequence[str], names: Sequence[str]) -> None:
    """Write all keys, certificates and kubeconfigs of a cluster whose API is at `server`, valid for the given names."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    authority = _authority("localcluster")
    _write(folder / "ca.crt", authority.certificate)
    for serving in ("apiserver", "kubelet-serving"):
        _issue(
            folder,
            serving,
            authority,
            x509.Name([_attribute(NameOID.COMMON_NAME, serving)]),
            addresses=addresses,
            names=names,
        )
    front = _authority("localcluster-front-proxy")
    _write(folder / "front-proxy-ca.crt", front.certificate)
    _issue(folder, "front-proxy-client", front, x509.Name([_attribute(NameOID.COMMON_NAME, "front-proxy-client")]))
    service_accounts = ec.generate_private_key(ec.SECP256R1())
    _write_key(folder / "service-accounts.key", service_accounts)
    (folder / "service-accounts.pub").write_bytes(
        service_accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    for user in USERS:
        subject = [_attribute(NameOID.COMMON_NAME, user.name)]
        subject += [_attribute(NameOID.ORGANIZATION_NAME, group) for group in user.groups]
        _issue(folder, user.file, authority, x509.Name(subject))
        (folder / f"{user.file}.kubeconfig").write_text(json.dumps(kubeconfig(folder, server, user.file), indent=1))


def kubeconfig(folder: Path, server: str, user: str, *, context: str = "localcluster") -> dict[str, object]:
    """A kubeconfig (JSON is YAML) that refers to the certificate files."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [
            {"name": context, "cluster": {"server": server, "certificate-authority": str(folder / "ca.crt")}},
        ],
        "users": [
            {
                "name": user,
                "user": {
                    "client-certificate": str(folder / f"{user}.crt"),
                    "client-key": str(folder / f"{user}.key"),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
    }


def _authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([_attribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def _issue(
    folder: Path,
    file: str,
    authority: Authority,
    subject: x509.Name,
    *,
    addresses: Sequence[str] = (),
    names: Sequence[str] = (),
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(subject, authority.certificate.subject, key.public_key())
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
    )
    if addresses or names:
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    _write(folder / f"{file}.crt", builder.sign(authority.key, hashes.SHA256()))
    _write_key(folder / f"{file}.key", key)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + _VALIDITY)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str]:
    return x509.NameAttribute(oid, value)


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
