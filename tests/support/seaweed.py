"""An S3-compatible store of a test's own: SeaweedFS on loopback, its files below /tmp, ended by its pid."""

import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ports import free_port

KEY, SECRET_KEY = "AKIDTEST", "hush-hush-hush"
BUCKET = "backups"
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
)


class Seaweed:
    """``url`` answers S3 with :data:`KEY` and :data:`SECRET_KEY`, and has the bucket :data:`BUCKET`."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="hp-s3-", dir="/tmp"))
        self.log = self.directory / "log"
        identity = {
            "name": "backup",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }
        config = self.directory / "s3.json"
        config.write_text(json.dumps({"identities": [identity]}))
        (self.directory / "data").mkdir()
        self._ports = [free_port() for _ in range(len(_PORTS) + 2)]
        *others, port, grpc = self._ports
        self.url = f"http://127.0.0.1:{port}"
        argv = [
            str(Path(sys.executable).parent / "weed"), "-logtostderr=true", "server", "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1", f"-dir={self.directory / 'data'}", "-filer", "-s3", f"-s3.port={port}",
            f"-s3.port.grpc={grpc}", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}", "-volume.max=50",
            "-master.volumeSizeLimitMB=64", *(f"-{name}={n}" for name, n in zip(_PORTS, others, strict=True)),
        ]  # fmt: skip
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self.directory)
        try:
            self._wait(port, "GET", "/")
            # A bucket is a directory of the filer's.
            self._wait(others[_PORTS.index("filer.port")], "POST", f"/buckets/{BUCKET}/")
        except BaseException:
            self.end()
            raise

    def _wait(self, port: int, method: str, path: str) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request(method, path)
                if connection.getresponse().status < 500:
                    return
            except OSError:
                time.sleep(0.1)
            finally:
                connection.close()
        raise RuntimeError(f"SeaweedFS did not start:\n{self.log.read_text()[-2000:]}")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)
        for port in self._ports:
            for socket_of_its_own in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                socket_of_its_own.unlink(missing_ok=True)

    def __enter__(self) -> "Seaweed":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
