"""Whom to tell by e-mail: a Prefect block beside those for webhooks and Slack that Prefect has.

Belongs here: an address and a way to it. Does not belong here: what is told and when
(`deployments/automations.yaml`).

The server sends, so it must know this block: the entry point `prefect.collections` of this package
names this module. Source of the protocol: https://docs.python.org/3/library/smtplib.html
"""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Annotated, Literal

from prefect.blocks.abstract import NotificationBlock, NotificationError
from pydantic import Field, SecretStr, StringConstraints

# These blocks are registered at the server as well, so that its page offers forms for them.
from blocks.credentials import BreezeCredentials, NewsApiKey
from blocks.signing import ManifestSigningKey

__all__ = ["BreezeCredentials", "EmailTarget", "ManifestSigningKey", "NewsApiKey"]

_TIMEOUT_SECONDS = 20.0

Address = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$")]


class EmailTarget(NotificationBlock):
    """People who are told by e-mail, and the server that carries it."""

    _block_type_name = "Email Target"
    _block_type_slug = "email-target"
    _description = "Sends notifications by e-mail through an SMTP server."

    host: str = Field(description="Name of the SMTP server.")
    port: int = Field(default=587, ge=1, le=65535, description="TCP port of the SMTP server.")
    security: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="starttls: encrypt after connecting (port 587); tls: from the start (port "
        "465); none: only for a server on this machine.",
    )
    user: str | None = Field(default=None, description="Name to log in with; empty for none.")
    password: SecretStr | None = Field(default=None, description="Password to log in with.")
    sender: Address = Field(description="Address that the message comes from.")
    recipients: list[Address] = Field(min_length=1, description="Addresses that it goes to.")

    async def notify(self, body: str, subject: str | None = None) -> None:
        """Send one message to all recipients, without holding up the server, which calls this.

        Raises
        ------
        NotificationError
            The server cannot be reached, or refuses the login, the sender or every recipient.
        """
        await asyncio.to_thread(self._send, self._message(body, subject))

    def _send(self, message: EmailMessage) -> None:
        try:
            with self._connect() as smtp:
                if self.user is not None and self.password is not None:
                    smtp.login(self.user, self.password.get_secret_value())
                smtp.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise NotificationError(f"{self.host}:{self.port}: {error}") from error

    def _connect(self) -> smtplib.SMTP:
        if self.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=_TIMEOUT_SECONDS, context=context)
        smtp = smtplib.SMTP(self.host, self.port, timeout=_TIMEOUT_SECONDS)
        if self.security == "starttls":
            try:
                smtp.starttls(context=ssl.create_default_context())
            except (OSError, smtplib.SMTPException):
                smtp.close()
                raise
        return smtp

    def _message(self, body: str, subject: str | None) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self.sender
        message["To"] = ", ".join(self.recipients)
        # A line break would begin a header of its own.
        message["Subject"] = " ".join((subject or "sensequant").split())
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        message.set_content(body)
        return message
