"""Facts about signatures of manifests: whose they are, of what, and what an absent one says."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from sensequant.errors import ConfigError
from sensequant.release.signature import (
    Signature,
    SignatureState,
    public_key_of,
    sign_manifest,
    verify_signature,
)
from sensequant.runs import RunFolder
from sensequant.storage import read_json, write_json

# RFC 8032, section 7.1, TEST 1.
SECRET = SecretStr("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return a run whose manifest is a line of text."""
    folder = RunFolder(tmp_path, "live_candidate_20250101_000000_0000abcd")
    folder.root.mkdir(parents=True)
    folder.manifest.write_text("release_id: x\n")
    return folder


def test_keys_are_those_of_the_standard() -> None:
    """A known pair, spaces around it forgiven."""
    assert public_key_of(SECRET) == PUBLIC
    assert public_key_of(SecretStr(f" {SECRET.get_secret_value()}\n")) == PUBLIC


def test_signature_covers_its_purpose_and_the_manifest(folder: RunFolder) -> None:
    """Whoever has the library and the public key can verify it without this project."""
    signed = sign_manifest(folder, SECRET)

    assert Signature.model_validate(read_json(folder.signature)) == signed
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(PUBLIC)).verify(
        bytes.fromhex(signed.signature), b"sensequant manifest\n" + folder.manifest.read_bytes()
    )


def test_unsigned_is_said(folder: RunFolder) -> None:
    """It speaks against nothing, and for nothing."""
    found = verify_signature(folder)

    assert (found.state, found.is_acceptable) == (SignatureState.UNSIGNED, True)
    assert "unsigned" in found.words


@pytest.mark.parametrize(
    ("trusted", "state"),
    [
        ((), SignatureState.VALID),
        ((PUBLIC,), SignatureState.VALID),
        (("0" * 64, PUBLIC), SignatureState.VALID),
        (("0" * 64,), SignatureState.UNKNOWN_KEY),
    ],
)
def test_key_counts_where_it_is_trusted(
    folder: RunFolder, trusted: tuple[str, ...], state: SignatureState
) -> None:
    """A valid signature by a stranger is refused as soon as somebody is trusted."""
    sign_manifest(folder, SECRET)
    found = verify_signature(folder, trusted=trusted)

    assert found.state is state
    assert found.is_acceptable is (state is SignatureState.VALID)
    assert PUBLIC in found.words


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_any_altered_bit_is_found(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    """Of the manifest, or of the signature's own numbers."""
    folder = RunFolder(tmp_path_factory.mktemp("run"), "live_candidate_20250101_000000_0000abcd")
    folder.root.mkdir(parents=True)
    folder.manifest.write_text("release_id: x\n")
    signed = sign_manifest(folder, SECRET)
    content = bytearray(folder.manifest.read_bytes())
    content[place % len(content)] ^= 1 << bit
    folder.manifest.write_bytes(bytes(content))
    assert verify_signature(folder).state is SignatureState.INVALID

    folder.manifest.write_text("release_id: x\n")
    number = bytearray.fromhex(signed.signature)
    number[place % len(number)] ^= 1 << bit
    write_json(folder.signature, signed.model_copy(update={"signature": number.hex()}))
    assert verify_signature(folder).state is SignatureState.INVALID


@pytest.mark.parametrize("text", ["", "{", "[]", '{"public_key": "x"}'])
def test_file_that_is_no_signature_is_invalid(folder: RunFolder, text: str) -> None:
    """It is not taken for none."""
    folder.signature.write_text(text)
    found = verify_signature(folder)

    assert (found.state, found.is_acceptable) == (SignatureState.INVALID, False)


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32, "ab" * 31, "ab" * 33])
def test_key_that_is_none_is_refused_and_not_shown(folder: RunFolder, text: str) -> None:
    """The message says what a key is, never what was given."""
    with pytest.raises(ConfigError, match="signing key is none") as told:
        sign_manifest(folder, SecretStr(text))
    assert not text or text not in str(told.value)


def test_run_without_manifest_cannot_be_signed(folder: RunFolder) -> None:
    """There is nothing to vouch for."""
    folder.manifest.unlink()
    with pytest.raises(ConfigError, match="no manifest to sign"):
        sign_manifest(folder, SECRET)
