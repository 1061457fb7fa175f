"""Signatures of manifests: who vouches for what was judged.

Belongs here: signing a manifest by ed25519, and saying whether a signature holds. Does not belong
here: where keys come from (`blocks.signing`), and what the manifest lists (`release.manifest`).

The signature covers a word for its purpose and the manifest's bytes, and so, through the manifest's
digests, every artifact. It holds the public key, which tells who could have signed only to whoever
knows that key: a signature by a key that nobody here trusts is as good as none, and is refused
where somebody has said which keys are trusted. Manifests may be unsigned; that is said.

Sources: RFC 8032, https://cryptography.io/en/latest/hazmat/primitives/asymmetric/ed25519/
"""

from collections.abc import Collection
from enum import StrEnum
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, SecretStr

from sensequant.errors import ConfigError, RecordError
from sensequant.records import Record
from sensequant.runs import RunFolder
from sensequant.storage import read_json, write_json

__all__ = [
    "Signature",
    "SignatureState",
    "Verified",
    "public_key_of",
    "sign_manifest",
    "verify_signature",
]

_PURPOSE = b"sensequant manifest\n"
_KEY = r"^[0-9a-f]{64}$"


class SignatureState(StrEnum):
    """What a look at the signature of a manifest says."""

    UNSIGNED = "unsigned"
    VALID = "valid"
    UNKNOWN_KEY = "unknown_key"
    INVALID = "invalid"


class Signature(Record):
    """What stands in `manifest.sig`."""

    algorithm: Literal["ed25519"] = "ed25519"
    public_key: str = Field(pattern=_KEY)
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")


class Verified(Record):
    """Whether a manifest's signature holds, in one word and in a sentence."""

    state: SignatureState
    words: str

    @property
    def is_acceptable(self) -> bool:
        """Whether it speaks against nothing: valid, or not there at all."""
        return self.state in {SignatureState.VALID, SignatureState.UNSIGNED}


def public_key_of(key: SecretStr) -> str:
    """Return the public half of a signing key, 64 hexadecimal digits.

    Raises
    ------
    ConfigError
        The key is none.
    """
    return _private(key).public_key().public_bytes_raw().hex()


def sign_manifest(folder: RunFolder, key: SecretStr) -> Signature:
    """Sign the manifest of a run and write the signature beside it.

    Parameters
    ----------
    folder
        A run with a manifest.
    key
        32 secret bytes as 64 hexadecimal digits.

    Raises
    ------
    ConfigError
        The key is none, or the run has no manifest.
    """
    private = _private(key)
    if not folder.manifest.exists():
        raise ConfigError(
            "run has no manifest to sign",
            where=folder.run_id,
            expected="a run that was audited",
            found="none",
            remedy="run stage release_audit first",
        )
    content = folder.manifest.read_bytes()
    signature = Signature(
        public_key=private.public_key().public_bytes_raw().hex(),
        signature=private.sign(_PURPOSE + content).hex(),
    )
    write_json(folder.signature, signature)
    return signature


def verify_signature(folder: RunFolder, *, trusted: Collection[str] = ()) -> Verified:
    """Say whether the signature of a run's manifest holds.

    Parameters
    ----------
    folder
        The run.
    trusted
        Public keys that may sign; with none, any key may, and the answer says that nobody vouches
        for it.
    """
    if not folder.signature.exists():
        return Verified(state=SignatureState.UNSIGNED, words="unsigned: nobody vouches for it")
    try:
        found = Signature.model_validate(read_json(folder.signature))
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(found.public_key))
        public.verify(bytes.fromhex(found.signature), _PURPOSE + folder.manifest.read_bytes())
    except InvalidSignature:
        return _invalid("the signature is not one of this manifest")
    except (RecordError, ValueError, OSError) as error:
        return _invalid(str(error).splitlines()[0])
    if trusted and found.public_key not in trusted:
        words = f"signed by key {found.public_key}, which is not among the trusted ones"
        return Verified(state=SignatureState.UNKNOWN_KEY, words=words)
    known = "a trusted key" if trusted else "a key that nobody has said to trust"
    return Verified(state=SignatureState.VALID, words=f"signed by {found.public_key}, {known}")


def _invalid(words: str) -> Verified:
    return Verified(state=SignatureState.INVALID, words=f"invalid: {words}")


def _private(key: SecretStr) -> Ed25519PrivateKey:
    try:
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key.get_secret_value().strip()))
    except ValueError as error:
        raise ConfigError(
            "signing key is none",
            where="signing key",
            expected="32 bytes as 64 hexadecimal digits",
            found="something else",
            remedy="`python -c 'import secrets; print(secrets.token_hex(32))'` makes one",
        ) from error
