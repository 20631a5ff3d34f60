"""TLS by a context of the ``ssl`` module: an ``SSLObject`` over two memory buffers, which the server fills and empties."""

import ssl
from typing import Optional

#: The number of bytes that are decrypted at once: the largest TLS record.
_READ = 16 * 1024

#: Protocol, cipher, and the client's certificate (PEM).
Info = tuple[str, str, Optional[str]]


class Session:
    """The TLS side of one connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._is_shaking_hands = True
        self._pending = b""

    def step(
        self, received: bytes, has_ended: bool, data: bytes, closes: bool
    ) -> tuple[bytes, bytes, bool, Optional[Info], Optional[str]]:
        """Processes what has arrived and what is to be sent.

        :param received: encrypted bytes from the client
        :param has_ended: whether no more follow
        :param data: bytes to encrypt
        :param closes: whether to announce the end of the data to the client
        :return: decrypted bytes, encrypted bytes, whether the client sends no more, what is known if the handshake is done
            now, and why the connection has failed, if it has
        """
        if received:
            self._incoming.write(received)
        if has_ended:
            self._incoming.write_eof()
        self._pending += data
        decrypted: list[bytes] = []
        closed, info, failure = False, None, None
        try:
            if self._is_shaking_hands:
                self._object.do_handshake()
                self._is_shaking_hands = False
                info = self._info()
            if self._pending:
                self._object.write(self._pending)
                self._pending = b""
            if closes:
                self._close()
            # Without new bytes from the client there is nothing to decrypt, and with none left the last read would raise.
            while self._incoming.pending or self._object.pending() or has_ended:
                block = self._object.read(_READ)
                if not block:
                    closed = True
                    break
                decrypted.append(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            # A server reads only requests, whose framing shows when one is cut short.
            closed = True
            if self._is_shaking_hands:
                failure = "the client closed the connection during the handshake"
        except ssl.SSLError as error:
            failure = error.reason or str(error)
        return b"".join(decrypted), self._outgoing.read(), closed, info, failure

    def _close(self) -> None:
        try:
            self._object.unwrap()
        except ssl.SSLError:
            # The client's own announcement need not follow.
            pass

    def _info(self) -> Info:
        cipher = self._object.cipher()
        certificate = self._object.getpeercert(binary_form=True)
        return (
            self._object.version() or "",
            "" if cipher is None else cipher[0],
            None if certificate is None else ssl.DER_cert_to_PEM_cert(certificate),
        )
