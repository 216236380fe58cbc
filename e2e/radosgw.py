"""Ceph's S3 gateway on the smallest possible cluster: one monitor, one manager and one disk.

It is the strictest S3 server that runs here and accepts any object key. A start takes about twenty
seconds, so only tests that need it request it. All daemons stay in the foreground as children of
the suite, with their state in the run's folder; the disk is a sparse file.
"""

import json
import uuid
from pathlib import Path

from processes import Process, accepts_connections, clean_environment, free_port, run
from servers import OWNER, answers
from target import DOMAIN, Target

_DISK_BYTES = 12 * 1024**3


class RadosGateway:
    """A one-node cluster; `target` is its S3 endpoint."""

    name = "radosgw"

    def __init__(self, directory: Path):
        self._state = directory / "ceph"
        for part in ("mon", "mgr", "osd", "gateway", "run"):
            (self._state / part).mkdir(parents=True)
        self._logs = directory
        self._environment = clean_environment(directory)
        self._config = self._state / "ceph.conf"
        self._processes: list[Process] = []
        self._monitor_ports = free_port(), free_port()
        self._port = free_port()
        self.target = Target(f"http://127.0.0.1:{self._port}", OWNER)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        # A clean shutdown takes seconds, for data that is thrown away here.
        for process in reversed(self._processes):
            process.stop(seconds=0.1)

    def _start(self) -> None:
        cluster = str(uuid.uuid4())
        self._config.write_text(self._configuration(cluster))
        self._start_monitor(cluster)
        self._start_manager()
        self._start_disk()
        self._start_gateway()

    def _start_monitor(self, cluster: str) -> None:
        keyring, monitor_map = self._state / "keyring", self._state / "monitor-map"
        everything = ["--cap", "osd", "allow *", "--cap", "mds", "allow *", "--cap", "mgr", "allow *"]
        self._run("ceph-authtool", "--create-keyring", keyring, "--gen-key", "-n", "mon.",
                  "--cap", "mon", "allow *")
        self._run("ceph-authtool", keyring, "--gen-key", "-n", "client.admin",
                  "--cap", "mon", "allow *", *everything)
        second, first = self._monitor_ports
        addresses = f"[v2:127.0.0.1:{second},v1:127.0.0.1:{first}]"
        self._run("monmaptool", "--create", "--addv", "a", addresses, "--fsid", cluster, monitor_map)
        self._run("ceph-mon", "-c", self._config, "--mkfs", "-i", "a",
                  "--monmap", monitor_map, "--keyring", keyring)
        monitor = self._daemon("ceph-mon", "-i", "a")
        monitor.wait_until(lambda: accepts_connections(second), "listening")

    def _start_manager(self) -> None:
        self._ceph("auth", "get-or-create", "mgr.x", "mon", "allow profile mgr",
                   "osd", "allow *", "mds", "allow *", "-o", self._state / "mgr/keyring")
        self._daemon("ceph-mgr", "-i", "x")

    def _start_disk(self) -> None:
        identity = str(uuid.uuid4())
        secret = self._run("ceph-authtool", "--gen-print-key").strip()
        request = self._state / "disk.json"
        request.write_text(json.dumps({"cephx_secret": secret}))
        self._ceph("osd", "new", identity, "-i", request)
        self._run("ceph-osd", "-c", self._config, "-i", "0", "--mkfs",
                  "--key", secret, "--osd-uuid", identity)
        (self._state / "osd/keyring").write_text(f"[osd.0]\n\tkey = {secret}\n")
        self._daemon("ceph-osd", "-i", "0")

    def _start_gateway(self) -> None:
        self._ceph("auth", "get-or-create", "client.gateway", "mon", "allow rw",
                   "osd", "allow rwx", "mgr", "allow rw", "-o", self._state / "gateway/keyring")
        # The administrator's command waits for the disk and creates the gateway's pools.
        self._run("radosgw-admin", "-c", self._config, "-n", "client.gateway", "user", "create",
                  "--uid", "owner", "--display-name", "owner",
                  "--access-key", OWNER.access_key, "--secret", OWNER.secret_key)
        gateway = self._daemon("radosgw", "-n", "client.gateway")
        gateway.wait_until(lambda: answers(self._port), "answering S3 requests", seconds=120)

    def _run(self, *arguments) -> str:
        return run(list(arguments), self._environment, seconds=180)

    def _ceph(self, *arguments) -> str:
        return self._run("ceph", "-c", self._config, "-k", self._state / "keyring",
                         "--connect-timeout", "30", *arguments)

    def _daemon(self, program: str, *arguments) -> Process:
        process = Process(program, [program, "-c", self._config, "-f", *arguments],
                          self._environment, self._logs / f"{program}.log")
        self._processes.append(process)
        return process

    def _configuration(self, cluster: str) -> str:
        second, first = self._monitor_ports
        return f"""
[global]
fsid = {cluster}
mon host = [v2:127.0.0.1:{second},v1:127.0.0.1:{first}]
public network = 127.0.0.0/8
ms bind ipv6 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
mon pg warn min per osd = 0
heartbeat grace = 200
run dir = {self._state}/run
admin socket = {self._state}/run/$name.asok
log file = {self._state}/run/$name.log
keyring = {self._state}/keyring

[mon.a]
mon data = {self._state}/mon
mon data avail crit = 1
auth allow insecure global id reclaim = false

[mgr.x]
mgr data = {self._state}/mgr
keyring = {self._state}/mgr/keyring

[osd.0]
osd data = {self._state}/osd
keyring = {self._state}/osd/keyring
osd objectstore = bluestore
bluestore block create = true
bluestore block size = {_DISK_BYTES}
bluestore fsck on mount = false
osd memory target = 939524096

[client.gateway]
rgw data = {self._state}/gateway
keyring = {self._state}/gateway/keyring
rgw frontends = beast endpoint=127.0.0.1:{self._port}
rgw dns name = {DOMAIN}
"""
