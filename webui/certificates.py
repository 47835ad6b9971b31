"""The car's own certificates: an authority that phones may trust, and a certificate for its names.

    ca.crt, ca.key            made once; the authority can vouch for local names and addresses only, so
                              that a stolen car cannot pose as a bank to a phone that trusts it
    server.pem                certificate and key; made anew when names or addresses change, or its time
                              is half over

A car's clock may be wrong. A certificate begins at a fixed day in the past, and a clock that shows an
earlier day than this software is not believed.
"""

import contextlib
import datetime
import fcntl
import ipaddress
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webui.access_store import AccessError, write_secretly
from webui.hosts import own_names

EARLIEST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)  # no clock that shows less is right
AUTHORITY_DAYS = 20 * 365
SERVER_DAYS = 800  # Apple's systems refuse what lasts longer than 825 days
RENEWED_WITH_LEFT_DAYS = 400
LOCAL_DOMAINS = ("local", "localhost", "lan", "home.arpa", "internal", "fritz.box")
LOCAL_NETWORKS = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
)


class CertificateError(AccessError):
    """The car's certificates cannot be made or read."""


class Certificates:
    """This car's authority and server certificate. Safe in any thread and for several processes."""

    def __init__(
        self, root: Path, now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC)
    ) -> None:
        """Use this folder; the authority is made where there is none.

        Raises:
            CertificateError: the folder cannot be used, or what is in it is damaged.

        """
        self.authority_file = root / "ca.crt"
        self._authority_key_file = root / "ca.key"
        self.server_file = root / "server.pem"
        self._root = root
        self._now = now
        self._lock = threading.Lock()
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                if not self.authority_file.exists():
                    self._make_authority()
                self._authority = x509.load_pem_x509_certificate(self.authority_file.read_bytes())
        except (OSError, ValueError) as error:
            raise CertificateError(
                f"the car's certificates in {root} cannot be used ({error}); "
                "remove ca.crt and ca.key there, then start again and trust the new ones"
            ) from error

    @property
    def fingerprint(self) -> str:
        """Return the authority's SHA-256 fingerprint as systems show it."""
        return self._authority.fingerprint(hashes.SHA256()).hex(":").upper()

    def authority_der(self) -> bytes:
        """Return the authority's certificate as phones import it."""
        return self._authority.public_bytes(serialization.Encoding.DER)

    def serve_for(self, names: Iterable[str], addresses: Iterable[str]) -> bool:
        """Make sure that the server's certificate covers these; return whether it is a new one."""
        wanted = _alternatives(names, addresses, self._permits)
        with self._alone():
            if self._is_good_for(wanted):
                return False
            self._make_server(wanted)
            return True

    def _permits(self, name: str) -> bool:
        constraints = self._authority.extensions.get_extension_for_class(x509.NameConstraints).value
        domains = [
            each.value for each in constraints.permitted_subtrees or () if isinstance(each, x509.DNSName)
        ]
        return any(name == domain or name.endswith(f".{domain}") for domain in domains)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock:
            descriptor = os.open(
                self._root / "certificates.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
            )
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield
            finally:
                os.close(descriptor)

    def _today(self) -> datetime.datetime:
        return max(self._now(), EARLIEST)

    def _make_authority(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        bare = sorted(own_names(), key=len)[:1] or ["car"]
        permitted = [x509.DNSName(domain) for domain in (*LOCAL_DOMAINS, *bare)]
        networks = [x509.IPAddress(ipaddress.ip_network(network)) for network in LOCAL_NETWORKS]
        name = _name(f"Lapwing car {bare[0]}")
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(EARLIEST)
            .not_valid_after(self._today() + datetime.timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.NameConstraints([*permitted, *networks], None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_secretly(self._authority_key_file, _pem(key))  # first: a certificate without its key is useless
        write_secretly(self.authority_file, certificate.public_bytes(serialization.Encoding.PEM))

    def _make_server(self, alternatives: list[x509.GeneralName]) -> None:
        authority_key = serialization.load_pem_private_key(self._authority_key_file.read_bytes(), None)
        assert isinstance(authority_key, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        today = self._today()
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name("Lapwing"))
            .issuer_name(self._authority.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(EARLIEST, today - datetime.timedelta(days=20)))
            .not_valid_after(today + datetime.timedelta(days=SERVER_DAYS - 20))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
            .sign(authority_key, hashes.SHA256())
        )
        # Key and certificate in one file, so that a kill never leaves two that do not belong together.
        both = _pem(key) + certificate.public_bytes(serialization.Encoding.PEM)
        write_secretly(self.server_file, both)

    def _is_good_for(self, wanted: list[x509.GeneralName]) -> bool:
        try:
            data = self.server_file.read_bytes()
            certificate = x509.load_pem_x509_certificate(data[data.index(b"-----BEGIN CERTIFICATE") :])
            certificate.verify_directly_issued_by(self._authority)
            present = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False
        left = certificate.not_valid_after_utc - self._today()
        is_due = left < datetime.timedelta(days=RENEWED_WITH_LEFT_DAYS)
        is_early = certificate.not_valid_before_utc > self._today()
        return set(present) == set(wanted) and not is_due and not is_early


def _alternatives(
    names: Iterable[str], addresses: Iterable[str], permits: Callable[[str], bool]
) -> list[x509.GeneralName]:
    """Return what the certificate is for: what the authority may not vouch for is left out."""
    networks = [ipaddress.ip_network(network) for network in LOCAL_NETWORKS]
    parsed = {ipaddress.ip_address(address) for address in (*addresses, "127.0.0.1", "::1")}
    local = sorted((each for each in parsed if any(each in network for network in networks)), key=str)
    allowed = sorted(name for name in {*names, "localhost"} if permits(name))
    return [*(x509.DNSName(name) for name in allowed), *(x509.IPAddress(each) for each in local)]


def _name(common: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common[:64]),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lapwing"),
        ]
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
