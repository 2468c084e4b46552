"""What importing and running does to the world around it; each in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

NO_NETWORK = """
import socket, sys
def refuse(*arguments, **options):
    sys.stderr.write(f"NETWORK {arguments}\\n")
    raise OSError("the network is closed")
socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = refuse
socket.getaddrinfo = socket.create_connection = refuse
"""


def run(code: str, home: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "TF_BUILD", "JENKINS_URL")}
    return subprocess.run(
        [sys.executable, "-c", NO_NETWORK + code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment, "HOME": str(home), "USERPROFILE": str(home)},
    )


def test_tagging_talks_to_nobody_and_leaves_nothing_at_home(tiny_bundle, write_music, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    code = """
from moodbook import Tagger
scores = Tagger.load(sys.argv[1])(sys.argv[2])
assert "torch" not in sys.modules
assert not any(name.startswith("openvino_telemetry") for name in sys.modules)
import time; time.sleep(0.5)  # A message would be sent by a thread.
print(scores.top(1)[0].tag)
"""
    done = run(code, home, str(tiny_bundle.folder), str(write_music()))

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in ("calm", "dark", "epic", "fast")
    assert "NETWORK" not in done.stderr
    assert list(home.iterdir()) == []


def test_importing_moodbook_imports_nothing_heavy(tmp_path):
    code = """
import moodbook
heavy = {"torch", "openvino", "numpy", "pydantic", "av", "soundfile", "rich"} & set(sys.modules)
print(sorted(heavy))
moodbook.ModelError, moodbook.TagSet
print(sorted({"torch", "openvino", "pydantic"} & set(sys.modules)))
"""
    done = run(code, tmp_path)

    assert done.stdout.splitlines() == ["[]", "[]"], done.stderr


def test_models_can_be_read_and_checked_without_the_runtime(tiny_bundle, tmp_path):
    code = """
from moodbook.model.bundle import read_bundle
read_bundle(sys.argv[1])
print(sorted({"torch", "openvino"} & set(sys.modules)))
"""
    done = run(code, tmp_path, str(tiny_bundle.folder))

    assert done.stdout.strip() == "[]", done.stderr


def test_the_converter_is_hidden_no_longer_than_needed(tmp_path):
    code = """
from moodbook.model.runtime import load_openvino
openvino = load_openvino()
assert openvino is load_openvino() is sys.modules["openvino"]
print("openvino.tools.ovc" in sys.modules, hasattr(openvino, "convert_model"))
"""
    done = run(code, tmp_path)

    assert done.stdout.strip() == "False False", done.stderr


@pytest.mark.parametrize("name", ["Tagger", "TagScores", "TagSet", "list_models", "AudioError", "__version__"])
def test_public_names_are_where_they_are_said_to_be(name):
    import moodbook

    assert name in dir(moodbook)
    assert getattr(moodbook, name) is not None


def test_every_public_name_is_there_and_no_other():
    import moodbook

    for name in moodbook.__all__:
        getattr(moodbook, name)
    with pytest.raises(AttributeError, match="has no attribute 'tagger_of_everything'"):
        _ = moodbook.tagger_of_everything
