"""Facts about e-mail: one message to all, errors that say where, nothing smuggled into headers."""

import asyncio
import email
import email.policy
import socketserver
import threading
from collections.abc import Generator
from email.message import EmailMessage
from typing import Any, ClassVar

import pytest
from prefect.blocks.abstract import NotificationError
from pydantic import ValidationError

from blocks.notifications import EmailTarget


class Mailbox(socketserver.StreamRequestHandler):
    """Takes messages as an SMTP server does (RFC 5321), as far as it must."""

    messages: ClassVar[list[EmailMessage]] = []
    refused: ClassVar[str] = ""

    def handle(self) -> None:
        """Answer one connection."""
        self.say("220 mailbox")
        while line := self.rfile.readline().decode().strip():
            verb = line.split()[0].upper()
            if self.refused and self.refused in line:
                self.say("550 refused")
            elif verb == "DATA":
                self.say("354 go on")
                self.take()
                self.say("250 taken")
            elif verb == "QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def take(self) -> None:
        """Read one message up to its end."""
        lines: list[bytes] = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line)
        self.messages.append(email.message_from_bytes(b"".join(lines), policy=email.policy.default))

    def say(self, line: str) -> None:
        """Answer with one line."""
        self.wfile.write(f"{line}\r\n".encode())


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Generator[int]:
    """Return the port of an empty mailbox on loopback."""
    monkeypatch.setattr(Mailbox, "messages", [])
    monkeypatch.setattr("blocks.notifications._TIMEOUT_SECONDS", 2.0)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Mailbox) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def target(port: int, **fields: Any) -> EmailTarget:
    given = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "sender": "runs@example.org",
        "recipients": ["one@example.org", "two@example.org"],
    }
    return EmailTarget.model_validate(given | fields)


def test_message_reaches_all_recipients(port: int) -> None:
    """With subject, text and sender; a line break in the subject begins no header."""
    asyncio.run(target(port).notify("3 of 9 units failed\n", "run failed\nBcc: x@example.org"))

    (message,) = Mailbox.messages
    assert message["Subject"] == "run failed Bcc: x@example.org"
    assert message["To"] == "one@example.org, two@example.org"
    assert message["Bcc"] is None
    assert message.get_content().strip() == "3 of 9 units failed"


def test_refusal_says_which_server_and_why(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A notification that was not sent must not look like one that was."""
    monkeypatch.setattr(Mailbox, "refused", "runs@example.org")

    with pytest.raises(NotificationError, match="refused") as caught:
        asyncio.run(target(port).notify("text"))

    assert f"127.0.0.1:{port}" in caught.value.log


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_nothing_is_sent_in_clear_where_encryption_was_asked_for(port: int, security: str) -> None:
    """A server without it is an error."""
    with pytest.raises(NotificationError):
        asyncio.run(target(port, security=security).notify("text"))

    assert Mailbox.messages == []


def test_server_that_is_away_is_an_error() -> None:
    """Port 9 of loopback is the discard service, which is not there."""
    with pytest.raises(NotificationError, match="refused"):
        asyncio.run(target(9).notify("text"))


@pytest.mark.parametrize(
    "fields", [{"recipients": []}, {"sender": "nobody"}, {"host": None}, {"security": "some"}]
)
def test_block_that_could_not_send_is_not_saved(fields: dict[str, Any]) -> None:
    """Its form says so."""
    with pytest.raises(ValidationError):
        target(25, **fields)
