"""The systemd unit for real servers."""

import os
from pathlib import Path

from homeport.system.files import write_atomic

SYSTEM = Path("/etc/systemd/system")


def unit(data_dir: Path, python: str) -> str:
    """``KillMode=process``: when supervisord dies, the apps and HAProxy serve on until it is back."""
    return f"""\
# Written by homeport up --systemd.
[Unit]
Description=Homeport in {data_dir}
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
Environment="HOMEPORT_HOME={data_dir}" HOMEPORT_UNDER=systemd
ExecStart="{python}" -m homeport.main.foreground
ExecStop="{python}" -m homeport.main.entry down
Restart=on-failure
RestartSec=1
KillMode=process
TimeoutStopSec=90
LimitNOFILE=65536
Delegate=yes

[Install]
WantedBy=multi-user.target
"""


def write_unit(data_dir: Path, python: str) -> str:
    """Where this is root with systemd, into its directory; else beside the data. Returns what to do next."""
    name = "homeport.service"
    if str(data_dir) != "/var/lib/homeport":
        name = f"homeport-{data_dir.name.lstrip('.')}.service"
    if os.geteuid() == 0 and SYSTEM.is_dir():
        write_atomic(SYSTEM / name, unit(data_dir, python))
        return f"wrote {SYSTEM / name}\nnext: systemctl daemon-reload && systemctl enable --now {name}"
    write_atomic(data_dir / name, unit(data_dir, python))
    return (
        f"wrote {data_dir / name}\n"
        f"next, as root: cp {data_dir / name} {SYSTEM}/ && systemctl daemon-reload && "
        f"systemctl enable --now {name}"
    )
