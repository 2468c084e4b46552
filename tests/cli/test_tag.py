from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from moodbook.cli.tag import render, tag
from moodbook.model.scores import TagFailure, TagScores
from moodbook.model.tagger import Tagger
from moodbook.tags import TagSet

app = typer.Typer()
app.command("tag")(tag)
app.callback()(lambda: None)

RUN = "import typer; from moodbook.cli.tag import tag; a = typer.Typer(); a.command()(tag); a()"


@pytest.fixture
def call(tiny_bundle):
    """Run `moodbook tag` with the tiny model."""
    return lambda *arguments: CliRunner().invoke(app, ["tag", "--model", str(tiny_bundle.folder), *map(str, arguments)])


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_piped_it_prints_the_records(call, tiny_bundle, write_music):
    paths = [write_music("a.wav"), write_music("b.wav", 5)]

    done = call(*paths)

    assert done.exit_code == 0
    assert done.stderr == ""
    tagger = Tagger(tiny_bundle)
    assert records(done.stdout) == [tagger(path).to_dict() for path in paths]


def test_the_same_music_gives_the_same_bytes(call, write_music):
    paths = [write_music(f"{seed}.wav", 50, seed) for seed in range(3)]

    assert call(*paths).stdout_bytes == call(*paths).stdout_bytes


def test_a_folder_is_searched(call, write_music, tmp_path):
    for name in ("m/b.wav", "m/sub/c.WAV", "m/a.wav"):
        write_music(name, 3)
    (tmp_path / "m" / "cover.jpg").write_bytes(b"jpg")

    done = call(tmp_path / "m")

    assert [Path(record["path"]).name for record in records(done.stdout)] == ["a.wav", "b.wav", "c.WAV"]


def test_options_reach_the_tagger(call, tiny_bundle, write_music):
    path = write_music(seconds=60)

    (record,) = records(call(path, "--first-segment", "--top", "2").stdout)

    assert record == Tagger(tiny_bundle)(path, first_segment=True).to_dict(top=2)
    assert len(record["probabilities"]) == 2


def test_a_damaged_file_is_taken_up_to_the_damage_when_asked(call, write_music):
    path = write_music(seconds=30)
    path.write_bytes(path.read_bytes()[:800_000])

    refused, taken = call(path), call(path, "--allow-partial")

    assert refused.exit_code == 1
    assert "truncated" in records(refused.stdout)[0]["error"]
    assert taken.exit_code == 0
    assert records(taken.stdout)[0]["duration_seconds"] == pytest.approx(18.1, abs=0.1)


def test_failures_are_records_and_a_summary_and_exit_1(call, write_music, tmp_path):
    (tmp_path / "bad.mp3").write_text("no")

    done = call(tmp_path / "bad.mp3", write_music(), tmp_path / "absent.wav")

    assert done.exit_code == 1
    bad, good, absent = records(done.stdout)
    assert bad.keys() == absent.keys() == {"path", "error"}
    assert good["probabilities"]
    lines = done.stderr.splitlines()
    assert lines[0] == "moodbook: 2 of 3 could not be tagged"
    assert lines[1] == f"  {tmp_path / 'bad.mp3'}: {bad['error']}"


def test_a_name_that_the_system_refuses_is_one_failure(call, write_music):
    done = call("x" * 300, write_music())

    assert done.exit_code == 1
    refused, good = records(done.stdout)
    assert refused["error"] == "File name too long. Check the name."
    assert good["probabilities"]


def test_links_below_a_folder_are_told_and_are_no_failure(call, write_music, tmp_path):
    song = write_music("m/a.wav", 3)
    (tmp_path / "m" / "b.wav").symlink_to(song)
    (tmp_path / "m" / "loop").symlink_to(tmp_path)

    done = call(tmp_path / "m")

    assert done.exit_code == 0
    assert [record["path"] for record in records(done.stdout)] == [str(song)]
    assert done.stderr.splitlines() == [
        "moodbook: links below folders, not followed: 2; name their targets to tag them",
        f"  {tmp_path / 'm' / 'b.wav'}",
        f"  {tmp_path / 'm' / 'loop'}",
    ]


def test_a_long_list_of_failures_is_cut(call, tmp_path):
    paths = [tmp_path / f"{index}.wav" for index in range(13)]

    lines = call(*paths).stderr.splitlines()

    assert len(lines) == 12
    assert lines[-1] == "  and 3 more"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a folder that cannot be listed")
def test_a_folder_that_cannot_be_listed_is_one_failure(call, write_music, tmp_path):
    write_music("m/a.wav", 3)
    (tmp_path / "m" / "locked").mkdir(mode=0)

    done = call(tmp_path / "m")

    assert done.exit_code == 1
    assert [set(record) for record in records(done.stdout)].count({"path", "error"}) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["."], "found no audio below ."),
        ([".", "-o", "x.txt"], "cannot tell the format of 'x.txt' from its ending; use one of .jsonl, .csv"),
        (["song.wav", "--model", "nothing"], "there is no model 'nothing'"),
        (["song.wav", "-o", "nowhere/x.csv"], "cannot write 'nowhere/x.csv': No such file or directory"),
    ],
)
def test_what_cannot_be_run_exits_with_2_and_one_line(call, write_music, tmp_path, monkeypatch, arguments, message):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    if "song.wav" in arguments:
        write_music("empty/song.wav", 3)

    done = call(*arguments)

    assert done.exit_code == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"moodbook: {message}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv"])
def test_records_go_to_a_file(call, write_music, tmp_path, name):
    path = write_music()

    done = call(path, tmp_path / "absent.wav", "-o", tmp_path / name)

    assert done.exit_code == 1
    assert done.stdout == ""
    expected = records(call(path, tmp_path / "absent.wav").stdout)
    if name == "out.jsonl":
        assert records((tmp_path / name).read_text("utf-8")) == expected
    else:
        with (tmp_path / name).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["path"] for row in rows] == [record["path"] for record in expected]
        assert float(rows[0]["tag:calm"]) == expected[0]["probabilities"]["calm"]
        assert rows[1]["error"] == expected[1]["error"]


def test_a_file_and_json_lines_at_once(call, write_music, tmp_path):
    done = call(write_music(), "--json", "-o", tmp_path / "out.jsonl")

    assert done.stdout == (tmp_path / "out.jsonl").read_text("utf-8")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux takes any bytes for a name")
def test_any_file_name_gives_valid_utf8(tiny_bundle, write_music, tmp_path):
    folder = tmp_path / "names"
    folder.mkdir()
    song = write_music(seconds=3).read_bytes()
    for name in (b"caf\xe9.wav", b"a\nb.wav", b"-rf.wav", b"\xf0\x9f\x8e\xb5.wav", b"\x1b[31m.wav"):
        (folder / os.fsdecode(name)).write_bytes(song)
    (folder / os.fsdecode(b"bad\xff.wav")).write_bytes(b"no")

    done = subprocess.run(
        [sys.executable, "-c", RUN, "--model", str(tiny_bundle.folder), str(folder)],
        capture_output=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"},
        timeout=120,
    )

    assert done.returncode == 1
    found = records(done.stdout.decode("utf-8"))
    names = [Path(record["path"]).name for record in found]
    assert sorted(names) == sorted(
        ["caf\\xe9.wav", "a\nb.wav", "-rf.wav", "\N{MUSICAL NOTE}.wav", "\x1b[31m.wav", "bad\\xff.wav"]
    )
    assert b"\x1b" not in done.stdout
    assert b"\x1b" not in done.stderr
    done.stderr.decode("utf-8")


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_on_a_terminal_it_draws_a_table(tiny_bundle, write_music, tmp_path):
    path = write_music(seconds=60)

    code, text = on_a_terminal(
        [sys.executable, "-c", RUN, "--model", tiny_bundle.folder, path, tmp_path / "absent.wav"],
        {"COLUMNS": "100", "PYTHONUTF8": "1"},
    )

    assert code == 1
    assert "song.wav" in text
    assert "1:00" in text
    assert all(name in text for name in ("calm", "dark", "epic", "fast"))
    assert "█" in text
    assert "absent.wav" in text
    assert "tagging" in text  # The progress.
    assert "1 of 2 could not be tagged" in text


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_a_name_that_the_terminal_cannot_show_ends_no_run(tiny_bundle, write_music, tmp_path):
    folder = write_music("m/caf\N{LATIN SMALL LETTER E WITH ACUTE}.wav", 3).parent

    code, text = on_a_terminal(
        [
            sys.executable,
            "-c",
            "from moodbook.cli.app import main; main()",
            "tag",
            "--model",
            tiny_bundle.folder,
            folder,
        ],
        {"COLUMNS": "300", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
    )

    assert code == 0
    assert r"caf\xe9.wav" in text
    assert "####" in text


def on_a_terminal(command: list[object], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command on a pseudo-terminal: its exit code, and what was shown."""
    import pty

    parent, child = pty.openpty()
    process = subprocess.Popen(
        list(map(str, command)), stdout=child, stderr=child, env={**os.environ, "TERM": "xterm", **environment}
    )
    os.close(child)
    shown = b""
    while chunk := _read(parent):
        shown += chunk
    code = process.wait(60)
    os.close(parent)
    return code, shown.decode("utf-8")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # Linux's way to say that the other end is closed.
        return b""


def scores(**changes: object) -> TagScores:
    arguments = {
        "path": Path("[red]song\x1b.mp3"),
        "tags": TagSet(("calm", "epic")),
        "probabilities": np.array([0.25, 0.5], dtype=np.float32),
        "decisions": np.array([False, True]),
        "taggram": np.array([[0.0, 0.9], [0.5, 0.1]], dtype=np.float32),
        "music": None,
        "embedding": None,
        "filled": np.ones(2, dtype=np.float32),
        "segment_seconds": 23.777,
        "duration_seconds": 47.6,
        "padded": False,
        "note": "",
        "model_name": "tiny",
        "model_sha256": "ab" * 32,
        "precision": "f32",
    }
    return TagScores(**{**arguments, **changes})


def drawn(result: TagScores | TagFailure, top: int = 5, encoding: str = "utf-8") -> list[str]:
    class Paper(Console):
        @property
        def encoding(self) -> str:
            return encoding

    with (console := Paper(width=100)).capture() as capture:
        console.print(render(result, top, console))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_table_shows_words_strength_and_timeline():
    assert drawn(scores()) == [
        "[red]song\\x1b.mp3  0:48",
        "  epic  ██████████░░░░░░░░░░  0.50  █▁",
        "  calm  █████░░░░░░░░░░░░░░░  0.25  ▁▅",
    ]


def test_music_without_a_word_above_its_threshold_is_not_sure():
    nothing = np.array([False, False])
    said = "  not sure: no word is above its threshold"
    assert drawn(scores(decisions=nothing))[3:] == [said]
    assert drawn(scores(decisions=nothing, note="short"))[3:] == [said, "  short"]
    # Where there is no music the note says so, and there is nothing to be sure of.
    assert drawn(scores(decisions=nothing, music=0.1, note="no music heard"))[3:] == ["  no music heard"]


def test_a_poor_terminal_gets_plain_characters():
    assert drawn(scores(), 1, "ascii")[1] == "  epic  ##########..........  0.50  #"


def test_a_long_track_gets_a_timeline_that_fits():
    taggram = np.linspace(0, 1, 1000, dtype=np.float32)[:, None].repeat(2, axis=1)

    line = drawn(scores(taggram=taggram, filled=np.ones(1000, dtype=np.float32)), 1)[1]

    assert line.split()[-1] == "▁▁▁▂▂▂▃▃▃▄▄▄▅▅▅▆▆▆▇▇▇███"


def test_silence_draws_a_flat_line():
    nothing = np.zeros((2, 2), dtype=np.float32)

    assert drawn(scores(taggram=nothing, probabilities=nothing[0]), 1)[1].split() == ["calm", "░" * 20, "0.00", "▁▁"]


def test_notes_and_failures_stand_by_their_file():
    assert drawn(scores(note="short", duration_seconds=None))[-1] == "  short"
    assert drawn(TagFailure(Path("a.mp3"), "it is [bold]empty\n")) == ["a.mp3  it is [bold]empty\\x0a"]


def test_help_teaches_by_example():
    text = CliRunner().invoke(app, ["tag", "--help"], env={"COLUMNS": "100"}).stdout

    assert "moodbook tag album/ -o moods.csv" in text
    for option in ("--top", "--first-segment", "--model", "--allow-partial", "--json", "--output"):
        assert option in text


def test_asking_for_help_loads_nothing_heavy():
    code = f"""
import sys
sys.argv[1:] = ["--help"]
try:
    {RUN}
except SystemExit:
    print({{"numpy", "openvino", "torch", "pydantic"}} & set(sys.modules))
"""

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("precision", ["f32", "int8"])
def test_the_precision_can_be_chosen(call, tiny_bundle, write_music, precision):
    path = write_music()

    done = call("--precision", precision, path)

    assert done.exit_code == 0
    assert records(done.stdout) == [Tagger(tiny_bundle, precision=precision)(path).to_dict()]


def test_an_unknown_precision_is_refused(call, write_music):
    done = call("--precision", "fp8", write_music())

    assert done.exit_code == 2
    assert "'fp8' is not one of" in " ".join(done.stderr.split())


def test_the_processor_can_be_named(call, tiny_bundle, write_music):
    path = write_music()

    assert records(call("--device", "cpu", path).stdout) == [Tagger(tiny_bundle)(path).to_dict()]


def test_a_gpu_that_is_not_there_ends_the_run(call, write_music, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = call("--device", "cuda", write_music())

    assert (done.exit_code, done.stdout) == (2, "")
    assert "use device cpu" in done.stderr
    done = call("--device", "cuda", "--precision", "int8", write_music())
    assert (done.exit_code, done.stdout) == (2, "")
    assert "int8 is for the processor; on a GPU use precision f32 or bf16" in done.stderr


def test_a_gpu_without_torch_names_the_extra(call, write_music, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    done = call("--device", "cuda", write_music())

    assert (done.exit_code, done.stdout) == (2, "")
    assert "pip install 'moodbook[gpu]'" in done.stderr
