# SPDX-License-Identifier: Apache-2.0
"""Goal: a mistyped name is an error that names what may be meant; $PILLION_STORE stands for --store in every command;
a server that is not a pilliond is called that, not damaged. Method: tables of real command lines; servers that answer
what another program would."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading

import harness
import pytest
from cli import pillion, says

VIEW = "rides/driver_stats"
IN_STORE = ["--channel", "production"]


@pytest.mark.parametrize(
    "command, meant",
    [
        (["inspect", "rides/driver_stat@latest"], "driver_stats"),
        (["verify", "rides/driver_statz@latest"], "driver_stats"),
        (["promote", f"{VIEW}@prodcution", "--channel", "blue"], "production"),
        (["promote", "rides/drive_stats@latest", *IN_STORE], "driver_stats"),
        (["promote", "riedes/driver_stats@latest", *IN_STORE], "rides"),
        (["promote", "--all", "ride", *IN_STORE], "rides"),
        (["rollback", VIEW, "--channel", "prodution"], "production"),
        (["rollback", "rides/diver_stats", *IN_STORE], "driver_stats"),
        (["unpin", VIEW, "--channel", "porduction"], "production"),
        (["pin", VIEW, "--channel", "producton"], "production"),
    ],
)
def test_a_mistyped_name_of_a_store_is_an_error_with_a_hint(
    store: harness.Store, command: list[str], meant: str
) -> None:
    store.make_release()
    done = store.pillion(*command, code=1)
    assert done.stderr.endswith(f"; did you mean {meant}?\n") and done.stdout == ""


def test_a_view_with_many_releases_does_not_hide_the_others(store: harness.Store) -> None:
    store.make_release()
    many = store.path / "views/ride/driver_stats/releases"
    many.mkdir(parents=True)
    for number in range(1100):
        (many / f"{number:016x}.json").touch()
    done = store.pillion("promote", "rides/driver_statz@latest", *IN_STORE, code=1)
    assert done.stderr.endswith("; did you mean driver_stats?\n")


@pytest.mark.parametrize("name, meant", [("rides/diver_stats", "driver_stats"), ("ridez", "rides")])
def test_a_list_that_is_empty_hints(store: harness.Store, name: str, meant: str) -> None:
    store.make_release()
    done = store.pillion("releases", name)
    assert done.stdout == "no releases\n"
    assert done.stderr == f"pillion: {name} has no releases; did you mean {meant}?\n"


@pytest.mark.parametrize(
    "argv, meant, code",
    [
        (["pillion", "statsu"], "status", 2),
        (["pillion", "help", "realeses"], "releases", 2),
        (["pillion", "top", "--srot", "name"], "--sort", 2),
        (["pillion", "promote", "a/b@latest", "--chanel=x"], "--channel", 2),
        (["pilliond", "--sotre", "dir:x"], "--store", 1),
        (["pilliond", "--check-confg", "x"], "--check-config", 1),
    ],
)
def test_a_mistyped_word_of_a_command_line_has_a_hint(argv: list[str], meant: str, code: int) -> None:
    done = harness.run([harness.program(argv[0]), *argv[1:]], code=code)
    assert f"did you mean {meant}" in done.stderr + done.stdout


def test_the_builder_hints_too() -> None:
    done = harness.run([sys.executable, "-m", "pillion.build", "x.yaml", "--stroe", "dir:x"], code=2)
    assert "did you mean --store?" in done.stderr


def test_a_name_that_is_like_no_other_has_no_hint(store: harness.Store) -> None:
    store.make_release()
    done = store.pillion("releases", "elephants")
    assert (done.stdout, done.stderr) == ("no releases\n", "")


@pytest.mark.parametrize(
    "command",
    [["releases"], ["verify"], ["verify", f"{VIEW}@latest"], ["inspect", f"{VIEW}@latest"],
     ["gc", "--keep", "1", "--dry-run"], ["promote", f"{VIEW}@latest", *IN_STORE], ["pin", VIEW, *IN_STORE],
     ["unpin", VIEW, *IN_STORE], ["rollback", VIEW, *IN_STORE], ["completion", "views"]],
)
def test_pillion_store_stands_for_the_option_in_every_command(store: harness.Store, command: list[str]) -> None:
    store.make_release(seed=1)
    store.make_release(seed=2)
    done = pillion(*command, env={"PILLION_STORE": store.url})
    assert done.stdout and done.stderr == ""
    says(pillion("verify", code=2), "$PILLION_STORE")


def answering(answers: list[bytes]) -> tuple[str, threading.Thread]:
    """A server that sends the answers to one connection after another, whatever it is asked."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with server:
            for answer in answers:
                sock, _ = server.accept()
                with sock:
                    sock.recv(65536)
                    sock.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return f"tcp:127.0.0.1:{server.getsockname()[1]}", thread


@pytest.mark.parametrize("body", [b"hello", b"[]", b"null", b"<html>", b"{\"a\":"])
@pytest.mark.parametrize("command", ["status", "hist", "top", "slowlog"])
def test_a_web_server_is_not_an_admin_listener(command: str, body: bytes) -> None:
    address, thread = answering([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)])
    done = pillion(command, "--admin", address, code=1)
    says(done, address, "is this the admin listener of a pilliond?")
    assert done.stdout == ""
    thread.join()


@pytest.mark.parametrize("answer", [b":1\r\n+OK\r\n", b":1\r\n*1\r\n$1\r\na\r\n", b":1\r\n$-1\r\n"])
def test_another_resp_server_is_not_damaged(answer: bytes) -> None:
    address, thread = answering([answer])
    says(pillion("get", "--socket", address, "v", "1", code=1), "HGETALL", "is this a pilliond?")
    thread.join()


def test_doctor_ends_with_3_when_it_cannot_look_and_never_calls_root_good() -> None:
    nobody = f"tcp:127.0.0.1:{harness.free_port()}"
    done = subprocess.run([harness.program("pillion"), "doctor", "--admin", nobody], text=True, capture_output=True,
                          check=False)
    assert done.returncode in (1, 3) and f"unknown  daemon         {nobody}" in done.stdout
    is_root = "uid 0" in done.stdout
    verdict = next(line for line in done.stdout.splitlines() if "  sandbox  " in line).split()[0]
    assert verdict == ("unsafe" if is_root else "good")
