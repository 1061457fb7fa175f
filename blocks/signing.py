"""Keys of signatures: a Prefect block, or variables of the environment.

Belongs here: where the signing key and the trusted keys come from. Does not belong here: what is
signed, and what a signature says (`sensequant.release.signature`).

A secret is never a parameter of a run, because the pages show parameters. Whoever may read the key
can sign: keep the block for the machine that audits, and name its public key as trusted where
models are promoted.
"""

from typing import cast

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from blocks.environment import environment_now

__all__ = ["DEFAULT_BLOCK", "ManifestSigningKey", "signing_key"]

DEFAULT_BLOCK = "manifest"


class ManifestSigningKey(Block):
    """The key that signs manifests."""

    _block_type_name = "Manifest Signing Key"
    _block_type_slug = "manifest-signing-key"
    _description = "Ed25519 key by which audited runs are signed; without one they are unsigned."

    secret_key: SecretStr = Field(
        description="32 secret bytes as 64 hexadecimal digits; "
        "`python -c 'import secrets; print(secrets.token_hex(32))'` makes them."
    )


def signing_key() -> SecretStr | None:
    """Return the key of the environment, or else of block `manifest`; None: nothing is signed."""
    given = environment_now().signing_key
    if given is not None:
        return given
    try:
        # Outside of an event loop, where tasks of threads are, the block itself comes back.
        block = cast("ManifestSigningKey", ManifestSigningKey.load(DEFAULT_BLOCK))
    except ValueError:
        return None
    return block.secret_key
