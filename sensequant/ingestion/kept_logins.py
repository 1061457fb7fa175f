"""The session of a login, kept where other processes of this machine find it.

Belongs here: the file, what binds it to its keys and its day, and who may read it. Does not belong
here: logging in and proving a session (`market.sources.breeze.client`), where keys come from.

The session is encrypted with a key that is made of secret key and session token, so that the file
tells nothing to whoever has not both, and is no session for another token. It lies in a folder that
only its owner may enter, in a file that only he may read; one that others could have read or
written, of another day in India, or damaged, is as good as none. Nothing of it is logged.

Sources: https://github.com/fernet/spec/blob/master/Spec.md
"""

import base64
import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken
from pydantic import SecretStr

from sensequant.market.sessions import session_date_of
from sensequant.market.sources.breeze.credentials import BreezeLogin, SharedLogin
from sensequant.storage import locked, write_atomically

__all__ = ["KeptLogin"]

_OWNER_ONLY = 0o700
_OTHERS = 0o077
_PURPOSE = "sensequant: session of a login"


@dataclasses.dataclass(frozen=True, repr=False)
class KeptLogin:
    """The session of one login, for all processes of one home.

    Parameters
    ----------
    folder
        Where it lies; it is made for its owner alone.
    login
        Keys and token that it belongs to.
    clock
        Returns the time, aware.
    """

    folder: Path
    login: BreezeLogin
    clock: Callable[[], datetime]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.login.key_digest})"

    @property
    def path(self) -> Path:
        """The file; one for each app key."""
        return self.folder / f"breeze-{self.login.key_digest}"

    @contextlib.contextmanager
    def alone(self) -> Generator[None]:
        """Let one process at a time look, or log in."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(_OWNER_ONLY)
        with locked(self.path):
            yield

    def kept(self) -> SharedLogin | None:
        """Return the session that was left today for these keys and this token, or None."""
        try:
            found = self.path.stat()
            content = self.path.read_bytes()
        except OSError:
            return None
        if found.st_uid != os.geteuid() or found.st_mode & _OTHERS:
            return None
        try:
            told: dict[str, str] = json.loads(self._cipher.decrypt(content))
        except InvalidToken:
            return None
        if told["day"] != self._today:
            return None
        return SharedLogin(SecretStr(told["user_id"]), SecretStr(told["session_key"]))

    def keep(self, shared: SharedLogin) -> None:
        """Leave a session, in place of a former one.

        Raises
        ------
        StorageError
            The folder cannot be written.
        """
        told = {
            "day": self._today,
            "user_id": shared.user_id.get_secret_value(),
            "session_key": shared.session_key.get_secret_value(),
        }
        # Its temporary file is readable for its owner alone from the beginning.
        write_atomically(self.path, self._cipher.encrypt(json.dumps(told).encode()))

    @property
    def _today(self) -> str:
        return session_date_of(self.clock()).isoformat()

    @property
    def _cipher(self) -> Fernet:
        secrets = (self.login.secret_key, self.login.session_token)
        texts = (_PURPOSE, *(secret.get_secret_value() for secret in secrets))
        digest = hashlib.sha256("\0".join(texts).encode()).digest()
        return Fernet(base64.urlsafe_b64encode(digest))
