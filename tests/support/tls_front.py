"""TLS before a plain HTTP server on loopback, by HAProxy: pgBackRest speaks to no store without."""

import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from certificate import certificate
from ports import free_port

CONF = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 120s
    timeout server 120s
listen store
    bind 127.0.0.1:{port} ssl crt {pem}
    server plain {target}
"""


class TlsFront:
    """``url`` is of localhost; ``ca`` is what its certificate is checked by. Its files are in ``directory``."""

    def __init__(self, target: str, directory: Path) -> None:
        self.ca, key = certificate(directory)
        pem = directory / "tls.pem"
        pem.write_bytes(self.ca.read_bytes() + key.read_bytes())
        self.port = free_port()
        self.url = f"https://localhost:{self.port}"
        conf = directory / "tls.cfg"
        conf.write_text(CONF.format(port=self.port, pem=pem, target=urlsplit(target).netloc))
        self._process = subprocess.Popen(["haproxy", "-q", "-db", "-f", str(conf)])
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.end()
                    raise
            time.sleep(0.02)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> "TlsFront":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
