"""An S3-compatible store with TLS, by SeaweedFS: pgBackRest speaks to none without."""

import json
import os
import random
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from physical_home import until

# isort: split
from certificate import certificate

from homeport.backup.physical.model import S3Store
from homeport.kernel.secret import Secret
from homeport.system import net

KEY, KEY_SECRET = "a-key-of-tests", "a-secret-of-tests"
BUCKET = "backups"
HIGH = 10000
"""SeaweedFS listens for each port on one that is so much higher too."""


def ports(count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(7100, 7900)  # what Linux and Homeport give away is elsewhere, with HIGH too
        if port not in found and net.is_port_free(port) and net.is_port_free(port + HIGH):
            found.append(port)
    return found


class SeaweedStore:
    """To be ended by :meth:`close`. The server's user must be able to read ``directory``."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        directory.chmod(0o755)
        self.ca, key = certificate(directory)
        identity = {
            "name": "tests",
            "credentials": [{"accessKey": KEY, "secretKey": KEY_SECRET}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        (directory / "s3.json").write_text(json.dumps({"identities": [identity]}))
        (directory / "data").mkdir()
        master, volume, self._filer, plain, self.port = ports(5)
        argv = [
            str(Path(sys.executable).parent / "weed"), "server", f"-dir={directory / 'data'}",
            "-ip=localhost", "-ip.bind=127.0.0.1", f"-master.port={master}", f"-volume.port={volume}",
            "-volume.max=20", "-master.volumeSizeLimitMB=64", "-filer", f"-filer.port={self._filer}", "-s3",
            f"-s3.port={plain}", f"-s3.port.https={self.port}", f"-s3.cert.file={self.ca}",
            f"-s3.key.file={key}", f"-s3.config={directory / 's3.json'}",
        ]  # fmt: skip
        with open(directory / "log", "wb") as log:
            self._child = subprocess.Popen(
                argv, cwd=directory, stdout=log, stderr=log, env={"PATH": os.defpath, "HOME": str(directory)}
            )
        try:
            until(self._answers, 40)
        except BaseException:
            self.close()
            raise

    def make_bucket(self) -> None:
        url = f"http://127.0.0.1:{self._filer}/buckets/{BUCKET}/"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=20).close()

    def _answers(self) -> bool:
        assert self._child.poll() is None
        context = ssl.create_default_context(cafile=str(self.ca))
        with suppress(OSError, socket.timeout):
            try:
                urllib.request.urlopen(f"https://localhost:{self.port}/", timeout=2, context=context).close()
            except urllib.error.HTTPError as e:
                e.close()
            return True
        return False

    def store(self, prefix: str = "/shop") -> S3Store:
        return S3Store(
            BUCKET,
            "localhost",
            "us-east-1",
            Secret(KEY),
            Secret(KEY_SECRET),
            prefix,
            self.port,
            True,
            self.ca,
        )

    def close(self) -> None:
        self._child.terminate()
        try:
            self._child.wait(20)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(10)
