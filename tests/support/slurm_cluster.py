"""A Slurm cluster of one machine, made for a test and taken down after it: munged, slurmctld, slurmd.

Its nodes are this machine under one name or several. There is no accounting, as on many small clusters.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
SEARCHED = f"{os.environ['PATH']}:/usr/sbin:/sbin"  # daemons are not on every user's PATH
MISSING = [name for name in PROGRAMS if not shutil.which(name, path=SEARCHED)]
# cred_expire: how long a requeued job waits before it starts again, else two minutes.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost=localhost
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdLogFile={folder}/slurmd.%n.log
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CryptoType=crypto/munge
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,default_queue_depth=100
JobRequeue=1
KillWait=5
ReturnToService=2
SlurmdParameters=config_overrides
SwitchType=switch/none
GresTypes=gpu
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count: int) -> list[int]:
    """Free ports."""
    sockets = [socket.create_server(("", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextlib.contextmanager
def running(cpus: int, names: tuple[str, ...] = ("localhost",), gpus: int = 0) -> Iterator[dict[str, str]]:
    """Start a cluster; the value is what a user's environment needs to reach it.

    Parameters
    ----------
    cpus, gpus
        Of each node, whatever the machine has: Slurm counts them, and no more. One GPU at most.
    names
        Of the nodes.
    """
    folder = Path(tempfile.mkdtemp(prefix="slurm", dir="/tmp"))  # a socket's path must be short
    folder.chmod(0o755)
    (folder / "state").mkdir()
    ports = free_ports(1 + len(names))
    sizes = f"CPUs={cpus} RealMemory=4000" + (f" Gres=gpu:{gpus}" if gpus else "")
    nodes = [
        f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} {sizes}"
        for name, port in zip(names, ports[1:], strict=True)
    ]
    text = CONFIGURATION.format(user=getpass.getuser(), folder=folder, ports=ports, nodes="\n".join(nodes))
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text(f"Name=gpu File=/dev/null Count={gpus}\n" if gpus else "")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": SEARCHED}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    commands = [
        ["munged", "--foreground", f"--socket={folder}/munge.socket", *munge],
        ["slurmctld", "-D", "-c"],
        *(["slurmd", "-D", "-N", name] for name in names),
    ]
    daemons = []
    try:
        for command in commands:
            with open(folder / "daemons.log", "a") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            while not (folder / "munge.socket").exists() and daemons[0].poll() is None:
                time.sleep(0.02)  # the others need it
        _wait_until_idle(daemons, len(names), environment, folder)
        yield {name: environment[name] for name in ("SLURM_CONF", "PATH")}
    finally:
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["scancel", "--user", getpass.getuser()], env=environment, timeout=20)
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()
        shutil.rmtree(folder)


def _wait_until_idle(daemons: list[subprocess.Popen], count: int, environment: dict[str, str], folder: Path) -> None:
    states: list[str] = []
    while states != ["idle"] * count:
        logs = (folder / "daemons.log").read_text()
        assert all(daemon.poll() is None for daemon in daemons), f"the nodes never became idle: {states}\n{logs}"
        answer = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], env=environment, capture_output=True, text=True)
        states = answer.stdout.split()
        time.sleep(0.2)
