"""Photos with C2PA manifests: signed by the C2PA library with certificates made here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from io import BytesIO
from typing import Any

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
EXIF_PLACE = {"exif:GPSLatitude": "48,51.5N", "exif:GPSLongitude": "2,21.0E"}


@dataclass(frozen=True)
class Signing:
    """A signer's certificate chain and key, and the certificate of its authority, all PEM."""

    chain: bytes
    key: bytes
    authority: bytes


@cache
def make_signing(ocsp_url: str | None = None) -> Signing:
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name, name = _name("Test Root", "Root Org"), _name("Camera 7", "Camera Org")
    authority = (
        _certificate(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(True, None), True)
        .add_extension(_key_usage(signs_certificates=True), True)
        .sign(authority_key, hashes.SHA256())
    )
    builder = (
        _certificate(name, authority_name, key)
        .add_extension(x509.BasicConstraints(False, None), True)
        .add_extension(_key_usage(signs_certificates=False), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False
        )
    )
    if ocsp_url is not None:
        access = x509.AccessDescription(
            AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(ocsp_url)
        )
        builder = builder.add_extension(x509.AuthorityInformationAccess([access]), False)
    leaf = builder.sign(authority_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    return Signing(
        chain=leaf.public_bytes(pem) + authority.public_bytes(pem),
        key=key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        authority=authority.public_bytes(pem),
    )


def _name(common_name: str, organization: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
        ]
    )


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
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


def assertion(label: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {"label": label, "kind": "Json", "data": data}


def metadata(**changes: Any) -> dict[str, Any]:
    """The assertion `c2pa.metadata` with a place in Paris and a time; None removes a property."""
    properties = {
        **EXIF_PLACE,
        "exif:DateTimeOriginal": "2024-05-06T09:08:09+02:00",
        **{f"exif:{name}": value for name, value in changes.items()},
    }
    context = {"exif": "http://ns.adobe.com/exif/1.0/"}
    kept = {name: value for name, value in properties.items() if value is not None}
    return assertion("c2pa.metadata", {"@context": context, **kept})


def created(source_type: str = "digitalCapture", **parameters: Any) -> dict[str, Any]:
    action = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + source_type}
    return {"label": "c2pa.actions", "data": {"actions": [action | parameters]}}


def sign(
    image: bytes,
    assertions: Sequence[Mapping[str, Any]] = (),
    *,
    media_type: str = "image/jpeg",
    parent: bytes | None = None,
    url: str | None = None,
    signing: Signing | None = None,
    generator: str | None = None,
) -> bytes:
    """A signed copy of an image.

    Args:
        image: The image.
        assertions: Of its manifest; without a parent, the first action is `created` by default.
        media_type: Of image and parent.
        parent: The image before this edit, which becomes an ingredient.
        url: Where the manifest would be; it is then not embedded.
        signing: Certificates; those of `make_signing()` by default.
        generator: Name of the program that signs.
    """
    signing = signing or make_signing()
    if parent is None and all(item["label"] != "c2pa.actions" for item in assertions):
        assertions = [created(), *assertions]
    generator = generator or ("Test Editor" if parent else "Test Camera")
    manifest = {
        "claim_generator_info": [{"name": generator}],
        "assertions": list(assertions),
    }
    context = c2pa.Context.from_dict({"builder": {"thumbnail": {"enabled": False}}})
    info = c2pa.C2paSignerInfo(b"es256", signing.chain, signing.key, None)
    signed = BytesIO()
    with c2pa.Signer.from_info(info) as signer, c2pa.Builder(manifest, context) as builder:
        if parent is not None:
            builder.set_intent(c2pa.C2paBuilderIntent.EDIT)
            ingredient = json.dumps({"title": "before", "relationship": "parentOf"})
            builder.add_ingredient(ingredient, media_type, BytesIO(parent))
        if url is not None:
            builder.set_remote_url(url)
            builder.set_no_embed()
        builder.sign(signer, media_type, BytesIO(image), signed)
    return signed.getvalue()
