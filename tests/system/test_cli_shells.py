# SPDX-License-Identifier: Apache-2.0
"""Goal: the completions of `pillion` work in each shell that is installed. Method: the scripts that are shipped are
loaded by the shells themselves and asked."""

from __future__ import annotations

import os
from pathlib import Path

import harness
import pytest
from cli import pillion


@pytest.mark.parametrize("shell, name", [("bash", "pillion.bash"), ("zsh", "_pillion"), ("fish", "pillion.fish")])
def test_the_completions_that_are_shipped_are_those_that_are_printed(shell: str, name: str) -> None:
    assert pillion("completion", shell).stdout == (harness.ROOT / "deploy" / "completion" / name).read_text()


@pytest.mark.parametrize(
    "words, wanted",
    [
        (["pro"], ["promote"]),
        (["promote", "--ch"], ["--channel"]),
        (["promote", "--channel", "st"], ["staging"]),
        (["promote", "--store", "di"], ["dir:"]),
        (["promote", "--store", "dir", ":", "schemas/ch"], ["schemas/channel.schema.json"]),
        (["get", "--socket", "un"], ["unix:"]),
        (["completion", "z"], ["zsh"]),
        (["ini"], ["init"]),
        (["init", "--ent"], ["--entity"]),
        (["init", "schemas/ch"], ["schemas/channel.schema.json"]),
        (["build", "--mem"], ["--memory-limit"]),
        (["build", "--on-bad-row", "s"], ["skip"]),
        (["build", "--on-conflict", "r"], ["resolve"]),
        (["top", "--sort", "h"], ["hits"]),
    ],
)
def test_bash_completes(words: list[str], wanted: list[str]) -> None:
    script = """source deploy/completion/pillion.bash
COMP_WORDS=(pillion "$@"); COMP_CWORD=$#; COMP_LINE="pillion $*"; COMP_POINT=${#COMP_LINE}
compopt() { :; }
_pillion pillion "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\\n' "${COMPREPLY[@]}"
"""
    done = harness.run(
        [harness.tool("bash"), "--norc", "-c", script, "bash", *words], cwd=harness.ROOT, env=shell_environment()
    )
    assert done.stdout.split() == wanted


def shell_environment(store: harness.Store | None = None) -> dict[str, str]:
    found = str(Path(harness.program("pillion")).parent)
    clean = {k: v for k, v in os.environ.items() if k != "PILLION_STORE"}
    return {**clean, "PATH": f"{found}:{os.environ['PATH']}", **({"PILLION_STORE": store.url} if store else {})}


BASH_WORDS = """source deploy/completion/pillion.bash
COMP_WORDBREAKS=$' \t\n"@><=;|&(:'
COMP_LINE="pillion promote $1"; COMP_POINT=${#COMP_LINE}
_pillion_words releases; printf '%s\n' "${COMPREPLY[@]}"
"""
# A shell without a terminal has no completion system: what it would call is replaced, the script is not.
ZSH_WORDS = """fpath=($PWD/deploy/completion $fpath)
autoload -Uz compinit; compinit -u -D
[[ $_comps[pillion] == _pillion ]] || print -u2 "not loaded"
_arguments() { : }
autoload +X _pillion; source deploy/completion/_pillion
compadd() { print -l -- ${(P)@[-1]} }
words=(promote ''); _pillion_words releases
"""
FISH_WORDS = """source deploy/completion/pillion.fish
complete -C "pillion promote $argv[1]" | string replace -r "\\\\t.*" ""; true
"""


@pytest.mark.parametrize("shell, script", [("bash", BASH_WORDS), ("zsh", ZSH_WORDS), ("fish", FISH_WORDS)])
def test_shells_complete_what_the_store_holds(store: harness.Store, shell: str, script: str) -> None:
    ref = store.make_release(channel="blue")
    word = "rides/driver_stats@"
    options = {"bash": ["--norc", "-c", script, "bash"], "zsh": ["-f", "-c", script, "zsh"],
               "fish": ["--no-config", "-c", script]}[shell]
    done = harness.run([harness.tool(shell), *options, word], cwd=harness.ROOT, env=shell_environment(store))
    wanted = {ref, f"{word}latest", f"{word}blue"}
    found = set(done.stdout.split())
    assert {f"{word}{rest}" for rest in found} == wanted if shell == "bash" else found == wanted
    assert done.stderr == ""


def test_what_a_store_holds_is_listed_for_shells(store: harness.Store, folder: Path) -> None:
    store.make_release(channel="blue")
    assert store.pillion("completion", "views").stdout == "rides/driver_stats\n"
    assert store.pillion("completion", "channels").stdout.split() == ["production", "staging", "canary", "blue"]
    nowhere = pillion("completion", "releases", "--store", f"dir:{folder}/none")
    assert nowhere.stdout == nowhere.stderr == ""
