# SPDX-License-Identifier: Apache-2.0
"""The package pillion as it is installed: one wheel for CPython 3.9 and later, which needs numpy alone, shows what it
says and types it."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

pillion = pytest.importorskip("pillion", reason="the package is not installed")
ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(pillion.__file__).parent

PUBLIC = """
    NOT_FOUND NULL_VALUE OUTSIDE_MAX_AGE PRESENT Answer Client CorruptError FeastObjectNotFoundException
    FeastPermissionError Feature FeatureNameCollisionError FeatureNotFoundException FeatureServiceNotFoundException
    FeatureViewNotFoundException Info InvalidRequestError MissingJoinKeyError NotReadyError OnlineResponse PillionError
    Plan ResourceError TooLargeError UnavailableError UnsupportedError ViewAnswer ViewInfo __version__
"""
ALONE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"pandas", "pyarrow", "duckdb", "torch"}:
            raise ImportError(f"{name} is imported")

sys.meta_path.insert(0, Refuse())
import pillion
assert "numpy" not in sys.modules
try:
    pillion.Client("unix:/nonexistent/mapped.sock", None)
except pillion.UnavailableError:
    import numpy
"""


def test_the_wheel_is_for_every_python_from_3_9():
    tags = [line for line in (metadata.distribution("pillion").read_text("WHEEL") or "").splitlines() if "Tag" in line]
    assert len(tags) == 1 and tags[0].startswith("Tag: cp39-abi3-linux_")
    assert sorted(path.name for path in FOLDER.glob("*.so")) == ["_client.abi3.so", "_core.abi3.so"]


def test_numpy_is_enough():
    subprocess.run([sys.executable, "-X", "dev", "-W", "error", "-c", ALONE], check=True)
    plain = [need for need in metadata.requires("pillion") or [] if "extra ==" not in need]
    assert len(plain) == 1 and plain[0].startswith("numpy")


def test_the_builder_says_what_it_lacks():
    code = "import sys; sys.modules['duckdb'] = None; import pillion.build"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("pillion.build needs duckdb: install pillion with the extra [build]\n")


def test_what_is_public_is_what_was_said():
    assert sorted(pillion.__all__) == sorted(PUBLIC.split())
    assert all(hasattr(pillion, name) for name in pillion.__all__)
    assert pillion.__version__ == metadata.version("pillion")


def test_everything_public_has_a_docstring():
    classes = [getattr(pillion, name) for name in pillion.__all__ if isinstance(getattr(pillion, name), type)]
    for kind in classes:
        assert kind.__doc__, kind
    methods = [name for name in dir(pillion.Client) if not name.startswith("_")]
    assert methods == "close describe features get_online_features info read services vectors views".split()
    assert all(getattr(pillion.Client, name).__doc__ for name in methods)


def test_the_stub_names_what_the_extension_has():
    assert (FOLDER / "py.typed").exists()
    tree = ast.parse((FOLDER / "_client.pyi").read_text())
    (stub,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    named = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)} - {"__init__"}
    base = pillion.Client.__mro__[1]
    assert named == {name for name in vars(base) if not name.startswith("__")}


def test_exceptions_have_feasts_names_and_pythons_bases():
    for name, bases in {
        "FeatureServiceNotFoundException": (pillion.FeastObjectNotFoundException,),
        "FeatureViewNotFoundException": (pillion.FeastObjectNotFoundException,),
        "FeatureNotFoundException": (pillion.FeastObjectNotFoundException, KeyError),
        "FeastPermissionError": (PermissionError,),
        "MissingJoinKeyError": (KeyError,),
        "InvalidRequestError": (ValueError,),
        "UnavailableError": (ConnectionError,),
    }.items():
        kind = getattr(pillion, name)
        assert issubclass(kind, (pillion.PillionError,)) and all(issubclass(kind, base) for base in bases)
        assert str(kind("a 'text'")) == "a 'text'"
