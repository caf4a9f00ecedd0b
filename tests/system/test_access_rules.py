# SPDX-License-Identifier: Apache-2.0
"""Rules about reading and mapping, beyond test_access.py: users, groups and cgroups, on Unix sockets and TCP over IPv4
and IPv6; mapping takes the right to read; transactions; users that share a worker; rules that change by reload;
mistakes in the configuration. The clients are plain sockets in processes of other users, started by setpriv."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import harness
import pytest
import synthetic

PYTHON = Path(__file__).resolve().parent.parent / "python"
sys.path.insert(0, str(PYTHON))
from mapped_reader import MappedClient, Refused  # noqa: E402

OPEN, SECRET = "rides/open_stats", "payroll/secret_stats"
ALLOWED, OTHER, GROUP = 4321, 4322, 4323  # users, and a group
as_users = pytest.mark.skipif(os.getuid() != 0, reason="only root can be somebody else")

# argv: address, bytes to send as hex. Prints what comes until the server closes, as hex.
TALK = """
import socket, sys
kind, _, rest = sys.argv[1].partition(":")
host, _, port = rest.rpartition(":")
sock = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET6 if ":" in host else socket.AF_INET)
sock.settimeout(float(sys.argv[3]))
sock.connect(rest if kind == "unix" else (host.strip("[]"), int(port)))
sock.sendall(bytes.fromhex(sys.argv[2]))
answer = b""
while more := sock.recv(65536):
    answer += more
print(answer.hex())
"""
MAPS = f"""
import json, sys, types
sys.path.insert(0, {str(PYTHON)!r})
sys.modules["xxhash"] = types.ModuleType("xxhash")  # of a venv that strangers cannot read; shards are not looked into
import mapped_reader as m
m.Shard = len
client = m.MappedClient(sys.argv[1])
told = {{"catalog": client.catalog()}}
for index, view in enumerate(told["catalog"]["views"]):
    try:
        told[index] = ["granted", client.acquire(index).release]
    except m.Refused as refusal:
        told[index] = [refusal.code, str(refusal)]
print(json.dumps(told))
"""


def run_as(uid: int, code: str, *args: str, groups: str = "--clear-groups") -> str:
    """What Python code prints as another user, without privileges."""
    argv = ["setpriv", f"--reuid={uid}", f"--regid={uid}", groups, "--inh-caps=-all", "--no-new-privs",
            "/usr/bin/python3", "-c", code, *args]
    return harness.run(argv).stdout


class Daemon:
    """A daemon that serves an open view and one that a rule protects, on all protocols and both kinds of sockets."""

    def __init__(self, folder: Path, store: harness.Store, start_pilliond: Any, rule: str, open_rule: str = ""):
        os.chmod(folder, 0o755)
        store.make_release(view="open_stats", rows=100, seed=1)
        store.make_release(project="payroll", view="secret_stats", rows=100, seed=2)
        tcp4, tcp6, feast, oip = harness.free_ports(4)
        self.mapped = folder / "mapped.sock"
        self.addresses = {
            ("resp", "unix"): f"unix:{folder}/r.sock", ("resp", "tcp"): f"tcp:127.0.0.1:{tcp4}",
            ("resp", "tcp6"): f"tcp:[::1]:{tcp6}",
            ("feast", "unix"): f"unix:{folder}/f.sock", ("feast", "tcp"): f"tcp:127.0.0.1:{feast}",
            ("oip", "unix"): f"unix:{folder}/o.sock", ("oip", "tcp"): f"tcp:127.0.0.1:{oip}",
            ("mapped", "unix"): f"unix:{self.mapped}",
        }
        listeners = "".join(f'  - {{protocol: {protocol}, address: "{address}", mode: "0666"}}\n'
                            for (protocol, _), address in self.addresses.items())
        config = folder / "access.yaml"
        config.write_text(f"serve:\n  - {{view: {OPEN}, channel: production{open_rule}}}\n"
                          f"  - {{view: {SECRET}, channel: production{rule}}}\nlisten:\n{listeners}")
        self.daemon = start_pilliond(store, serve=[], listen={}, args=["--config", str(config)])

    def talk(self, uid: int, protocol: str, kind: str, sent: bytes, **options: str) -> str:
        answer = run_as(uid, TALK, self.addresses[protocol, kind], sent.hex(), str(harness.DEADLINE_S), **options)
        return bytes.fromhex(answer.strip()).decode("latin-1")  # tensors are no text

    def resp(self, uid: int, kind: str, *commands: str, **options: str) -> str:
        return self.talk(uid, "resp", kind, "".join(f"{c}\r\n" for c in [*commands, "QUIT"]).encode(), **options)

    def http(self, uid: int, protocol: str, kind: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
        content = "" if body is None else json.dumps(body)
        sent = (f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(content)}\r\n\r\n{content}")
        head, _, answer = self.talk(uid, protocol, kind, sent.encode()).partition("\r\n\r\n")
        return int(head.split()[1]), answer

    def maps(self, uid: int, **options: str) -> dict[str, Any]:
        return json.loads(run_as(uid, MAPS, str(self.mapped), **options))


@pytest.fixture
def start(folder, store, start_pilliond):
    return lambda rule, open_rule="": Daemon(folder, store, start_pilliond, rule, open_rule)


NAMED = f", read: {{uids: [{ALLOWED}]}}"


def value(seed: int, key: int = 5) -> float:
    return synthetic.row("floats", key, seed, 10)["f0"]


# ---- Mapped reads

@as_users
def test_a_client_maps_what_it_may_read(start):
    daemon = start(NAMED)
    allowed, other = daemon.maps(ALLOWED), daemon.maps(OTHER)
    assert [view["name"] for view in allowed["catalog"]["views"]] == ["open_stats", "secret_stats"]
    assert {project["project"] for project in allowed["catalog"]["projects"]} == {"rides", "payroll"}
    assert [allowed[i][0] for i in "01"] == ["granted", "granted"]
    assert [view["name"] for view in other["catalog"]["views"]] == ["open_stats", ""]
    assert [view["index"] for view in other["catalog"]["views"]] == [0, 1]
    assert [other[i][0] for i in "01"] == ["granted", "DENIED"]
    assert other["1"][1].startswith(f"view 1 may not be read by uid {OTHER}, gid {OTHER}, cgroup ")
    for name in ("secret_stats", "payroll"):
        assert name in json.dumps(allowed) and name not in json.dumps(other)


@as_users
def test_mapping_takes_the_right_to_read(start):
    daemon = start(f"{NAMED}, map: {{uids: [{OTHER}]}}", f", read: {{uids: [{ALLOWED}, {OTHER}]}}, map: none")
    allowed, other = daemon.maps(ALLOWED), daemon.maps(OTHER)
    assert [allowed[i][0] for i in "01"] == ["DENIED", "DENIED"]
    assert "rides/open_stats may not be mapped by" in allowed["0"][1]  # its name is known to whoever may read it
    assert "payroll/secret_stats may not be mapped by" in allowed["1"][1]
    assert [other[i][0] for i in "01"] == ["DENIED", "DENIED"]
    assert "secret" not in json.dumps(other)


@as_users
@pytest.mark.parametrize("groups,granted", [("--clear-groups", "DENIED"), (f"--groups={GROUP}", "granted"),
                                            (f"--groups=7,{GROUP},9", "granted"), ("--groups=7", "DENIED")])
def test_a_rule_names_supplementary_groups(start, groups, granted):
    daemon = start(f", read: {{gids: [{GROUP}]}}")
    assert daemon.maps(OTHER, groups=groups)["1"][0] == granted


def test_none_is_nobody(start):
    daemon = start(", read: none")
    client = MappedClient(str(daemon.mapped))
    assert client.acquire(0).release
    with pytest.raises(Refused, match=f"view 1 may not be read by uid {os.getuid()}") as refusal:
        client.acquire(1)
    assert refusal.value.code == "DENIED"
    with pytest.raises(Refused, match="may not be read"):
        client.locate(1, "0" * 16)


def test_cgroups_are_named_by_globs(start):
    daemon = start(", read: {cgroups: [\"/nowhere/*\"]}", ", read: {cgroups: [\"/*\"]}")
    client = MappedClient(str(daemon.mapped))
    assert client.acquire(0).release
    with pytest.raises(Refused, match="view 1 may not be read"):
        client.acquire(1)


# ---- Configuration

def test_mistakes_have_their_place(store, folder):
    config = folder / "c.yaml"
    config.write_text(
        "serve:\n  - {view: a/b, channel: c, read: {uids: [x], cgroups: [y], pids: [1]}}\n"
        "  - {view: a/d, channel: c, read: all}\n"
        "  - {view: a/e, channel: c, read: none, map: [1]}\n"
        f"  - {{view: a/f, channel: c, read: {{gids: [{', '.join(map(str, range(17)))}]}}}}\n"
        "listen:\n  - {protocol: resp, address: \"tcp:127.0.0.1:1\"}\n"
    )
    done = harness.run([harness.program("pilliond"), "--config", str(config), "--store", store.url, "--check-config"],
                       code=None)
    assert done.returncode != 0
    for line in ("c.yaml:2:43: this must be a numeric id", "c.yaml:2:57: a cgroup is a path",
                 "c.yaml:2:61: read: unknown key pids", "c.yaml:3:35: read must be none",
                 "c.yaml:4:46: entry of serve: map has the wrong form", "gids: more than 16"):
        assert line in done.stderr, done.stderr


def test_the_reference_describes_both_rules():
    page = harness.run([harness.program("pilliond"), "--describe", "config"]).stdout
    assert "| Who may read the view" in page and "| Who may map it" in page


# ---- The workers' protocols


@as_users
@pytest.mark.parametrize("kind", ["unix", "tcp", "tcp6"])
def test_resp_reads(start, kind):
    daemon = start(NAMED)
    for command in ("HGET secret_stats:5 f0", "HMGET payroll/secret_stats:5 f0", "HGETALL secret_stats:5",
                    "EXISTS secret_stats:5", "PIL.VECTOR payroll/every 5"):
        denied = daemon.resp(OTHER, kind, command)
        allowed = daemon.resp(ALLOWED, kind, command)
        assert not allowed.startswith("-"), (command, allowed)
        assert denied.startswith("-NOPERM "), (command, denied)
    assert f"{value(2):g}" in daemon.resp(ALLOWED, kind, "HGET secret_stats:5 f0")
    assert f"{value(1):g}" in daemon.resp(OTHER, kind, "HGET open_stats:5 f0")
    # Inside of a transaction, too, and the rest of it is answered.
    answer = daemon.resp(OTHER, kind, "MULTI", "HGET secret_stats:5 f0", "HGET open_stats:5 f0", "EXEC")
    assert "-NOPERM " in answer and f"{value(1):g}" in answer and f"{value(2):g}" not in answer


@as_users
@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_oip(start, kind):
    daemon = start(NAMED)
    body = {"inputs": [{"name": "id", "shape": [1], "datatype": "INT64", "data": [5]}]}
    path = "/v2/models/payroll%2Fevery"
    assert daemon.http(ALLOWED, "oip", kind, "GET", path)[0] == 200
    assert daemon.http(ALLOWED, "oip", kind, "POST", f"{path}/infer", body)[0] == 200
    for method, at, content in (("GET", path, None), ("GET", f"{path}/ready", None), ("POST", f"{path}/infer", body)):
        assert daemon.http(OTHER, "oip", kind, method, at, content)[0] == 403, at
    assert "payroll" in daemon.http(ALLOWED, "oip", kind, "POST", "/v2/repository/index", {})[1]
    status, index = daemon.http(OTHER, "oip", kind, "POST", "/v2/repository/index", {})
    assert status == 200 and "payroll" not in index and "every" in index


@as_users
def test_groups_and_cgroups_are_not_known_over_tcp(start):
    """What the kernel does not tell is in no list; over a Unix socket it does."""
    daemon = start(f", read: {{gids: [{OTHER}]}}", ", read: {cgroups: [\"/*\"]}")
    for command in ("HGET secret_stats:5 f0", "HGET open_stats:5 f0"):
        assert daemon.resp(OTHER, "tcp", command).startswith("-NOPERM ")
        assert not daemon.resp(OTHER, "unix", command).startswith("-")


@as_users
def test_connections_of_different_users_share_a_worker(start):
    """What one of them has prepared is not the other's to use."""
    daemon = start(NAMED)
    command = "PIL.VECTOR payroll/every 5"
    for _ in range(3):
        assert not daemon.resp(ALLOWED, "unix", command).startswith("-")
        assert daemon.resp(OTHER, "unix", command).startswith("-NOPERM ")


@as_users
def test_client_list_and_slowlog_show_peers_as_before(start):
    daemon = start(NAMED)
    assert f",uid={OTHER}" in daemon.resp(OTHER, "unix", "CLIENT LIST")
    assert "addr=127.0.0.1:" in daemon.resp(OTHER, "tcp", "CLIENT LIST")
    assert "addr=[::1]:" in daemon.resp(OTHER, "tcp6", "CLIENT LIST")


def test_another_rule_is_another_view_for_open_connections(folder, store, start_pilliond):
    """In two reloads a view goes, and comes back with a rule: no connection keeps what the old rule gave, and an old
    rule hides nothing that the new one shows. A server that starts anew finds its way through the slots of both."""
    store.make_release(rows=100, seed=1)
    store.make_release(project="payroll", view="other", rows=100, seed=1)
    config, mapped = folder / "p.yaml", folder / "mapped.sock"
    other = "  - {view: payroll/other, channel: production}\n"

    def write(stats: str) -> None:
        config.write_text(f"serve:\n{other}{stats}listen:\n  - {{protocol: mapped, address: \"unix:{mapped}\"}}\n")

    def reload(stats: str) -> None:
        before = daemon.log.count("event=reloaded")
        write(stats)
        daemon.signal(signal.SIGHUP)
        harness.wait_until("the reload", lambda: daemon.log.count("event=reloaded") > before)

    def says() -> str:
        sock.sendall(b"HGET driver_stats:5 f0\r\n")
        line = lines.readline().decode().strip()
        return lines.readline().decode().strip() if line.startswith("$") else line

    view = "  - {view: rides/driver_stats, channel: production%s}\n"
    write(view % "")
    daemon = start_pilliond(store, serve=[], args=["--config", str(config)])
    sock = harness.connect(daemon.resp_unix)
    lines = sock.makefile("rb")
    client = MappedClient(str(mapped))
    assert says() == str(value(1))
    for _ in range(2):
        reload("")
        harness.wait_until("the view has gone", lambda: says().startswith("-ERR no view"))
        reload(view % ", read: none")
        harness.wait_until("the rule", lambda: says().startswith("-NOPERM"))
        assert "rides" not in json.dumps(client.catalog())
        reload("")
        harness.wait_until("the view has gone", lambda: says().startswith("-ERR no view"))
        reload(view % "")
        harness.wait_until("the view is back", lambda: says() == str(value(1)))
        assert "driver_stats" in json.dumps(client.catalog()["projects"])
    killed = daemon.child("server")
    os.kill(killed, signal.SIGKILL)
    harness.wait_until("the next server", lambda: daemon.child("server") != killed)
    assert daemon.redis(socket_timeout=10).hget("driver_stats:5", "f0") == str(value(1)).encode()
    lines.close()
    sock.close()
