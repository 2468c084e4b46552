"""`moodbook write`, `undo` and `doctor`."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile
from click.testing import Result
from mutagen.oggopus import OggOpus
from typer.testing import CliRunner

from moodbook.cli.app import app
from moodbook.library.filetags import build_plan, open_journal, read_fields
from moodbook.library.filetags.hearing import Listener
from moodbook.library.filetags.plan import Proposal
from moodbook.library.filetags.rewrite import new_copy_name
from moodbook.model.tagger import Tagger

RECORDINGS = Path(__file__).parents[2] / "examples" / "recordings"
Call = Callable[..., Result]


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the first four seconds of two real recordings."""
    folder = tmp_path_factory.mktemp("clips")
    for name in ("lava", "taiko"):
        samples, rate = soundfile.read(RECORDINGS / f"{name}.opus", frames=4 * 48_000)
        soundfile.write(folder / f"{name}.opus", samples, rate, format="OGG", subtype="OPUS")
    return folder


@pytest.fixture
def music(clips: Path, tmp_path: Path) -> Path:
    """A fresh folder of them."""
    return Path(shutil.copytree(clips, tmp_path / "music"))


@pytest.fixture
def call(tiny_bundle, tmp_path: Path) -> Call:
    """Run a verb with the tiny model and a journal of the test's own."""

    def run(verb: str, *arguments: object, **keywords: object) -> Result:
        options = ["--journal", str(tmp_path / "journal")]
        if verb == "write" and "--apply" not in arguments:
            options += ["--model", str(tiny_bundle.folder)]
        return CliRunner().invoke(app, [verb, *options, *map(str, arguments)], **keywords)

    return run


def records(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def mood(path: Path) -> list[str]:
    return list(OggOpus(path).get("mood", []))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_without_a_terminal_it_is_a_dry_run(call: Call, music: Path, tmp_path: Path) -> None:
    before = bytes_of(music)
    done = call("write", music, "--top", 2)
    assert done.exit_code == 0
    assert [record["status"] for record in records(done.stdout)] == ["planned", "planned"]
    assert done.stderr == "moodbook: this was a dry run: nothing was written; --yes writes\n"
    assert bytes_of(music) == before
    assert not (tmp_path / "journal").exists()


def test_it_writes_and_undo_puts_back(call: Call, music: Path, tiny_bundle, tmp_path: Path) -> None:
    done = call("write", music, "--top", 2, "--yes")
    assert done.exit_code == 0, done.stderr
    tagger = Tagger(tiny_bundle)
    for record in records(done.stdout):
        words = [strength.tag for strength in tagger(record["path"]).top(2)]
        assert record == {"path": record["path"], "status": "written", "before": [], "after": words}
        assert mood(Path(record["path"])) == words
        (text,) = read_fields(Path(record["path"]))["MOODBOOK_SCORES"]
        assert json.loads(text)["sha256"] == tiny_bundle.sha256
        assert set(json.loads(text)["scores"]) == set(tiny_bundle.tags)
    assert done.stderr.startswith("moodbook: to undo this: moodbook undo ")
    assert done.stderr.endswith(f" --journal {tmp_path / 'journal'}\n")

    again = call("write", music, "--top", 2, "--yes")
    assert [record["status"] for record in records(again.stdout)] == ["unchanged", "unchanged"]
    assert again.stderr == "moodbook: nothing to write\n"

    (run,) = records(call("undo", "--list").stdout)
    assert (run["what"], run["written"], run["failed"], run["state"]) == ("write", 2, 0, "done")
    dry = call("undo")
    assert [record["status"] for record in records(dry.stdout)] == ["planned", "planned"]
    assert mood(music / "lava.opus")
    undone = call("undo", run["run"], "--yes")
    assert undone.exit_code == 0
    assert [record["after"] for record in records(undone.stdout)] == [[], []]
    assert not mood(music / "lava.opus")
    assert [row["state"] for row in records(call("undo", "--list").stdout)] == ["undone", "done"]
    nothing = call("undo", "--yes")
    assert nothing.exit_code == 2
    assert "there is nothing to undo" in nothing.stderr
    gone = call("undo", run["run"], "--yes")
    assert (gone.exit_code, gone.stderr) == (0, f"moodbook: nothing to undo in run {run['run']}\n")


def test_a_saved_plan_is_written_later_without_a_model(call: Call, music: Path, tmp_path: Path) -> None:
    done = call("write", music, "--top", 1, "--plan", tmp_path / "plan.json")
    assert done.exit_code == 0
    assert done.stderr == f"moodbook: saved; to write it: moodbook write --apply {tmp_path / 'plan.json'}\n"
    assert not mood(music / "lava.opus")
    applied = call("write", "--apply", tmp_path / "plan.json", "--yes")
    assert applied.exit_code == 0, applied.stderr
    assert mood(music / "lava.opus") == records(done.stdout)[0]["after"]
    late = call("write", "--apply", tmp_path / "plan.json", "--yes")
    assert late.exit_code == 1
    assert {record["status"] for record in records(late.stdout)} == {"failed"}
    assert "2 of 2 cannot be written" in late.stderr


def test_a_dry_run_of_a_plan_tells_what_cannot_be_written_any_more(call: Call, music: Path, tmp_path: Path) -> None:
    call("write", music, "--top", 1, "--plan", tmp_path / "plan.json")
    (music / "lava.opus").unlink()
    dry = call("write", "--apply", tmp_path / "plan.json")
    assert dry.exit_code == 1
    status = {Path(record["path"]).name: record["status"] for record in records(dry.stdout)}
    assert status == {"lava.opus": "failed", "taiko.opus": "planned"}
    assert "there is no such file" in dry.stderr


def test_a_file_named_twice_is_written_once(call: Call, music: Path) -> None:
    (music / "link.opus").symlink_to("lava.opus")
    done = call("write", music / "lava.opus", music / "link.opus", "--top", 1, "--yes")
    assert done.exit_code == 0
    assert sorted(record["status"] for record in records(done.stdout)) == ["unchanged", "written"]


def test_a_plan_that_was_edited_is_not_replaced_unasked(call: Call, music: Path, tmp_path: Path) -> None:
    plan = tmp_path / "moods.json"
    for top in (2, 1):
        assert call("write", music, "--top", top, "--plan", plan).exit_code == 0
    plan.write_text(
        plan.read_text().replace('"after": {\n    "MOOD": [\n     "', '"after": {\n    "MOOD": [\n     "very ')
    )
    edited = plan.read_text()
    done = call("write", music, "--top", 2, "--plan", plan)
    assert done.exit_code == 2
    assert done.stderr == (
        f"moodbook: '{plan}' is there already and is not an unedited plan that Moodbook wrote; name another file, or "
        "replace it with --force\n"
    )
    assert plan.read_text() == edited
    assert call("write", music, "--top", 2, "--plan", plan, "--force").exit_code == 0
    assert plan.read_text() != edited


@pytest.mark.parametrize(
    "arguments",
    [
        ["write", ""],
        ["write", "", "--yes"],
        ["write", "x", "--journal", ""],
        ["undo", "--journal", ""],
        ["doctor", "--journal", ""],
        ["scan", ""],
        ["scan", ".", "--catalogue", ""],
        ["stats", "--catalogue", ""],
        ["tag", ""],
        ["tag", "x", "-o", ""],
        ["tag", "x", "--model", ""],
        ["write", "x", "--model", ""],
        ["write", "x", "--plan", ""],
        ["write", "x", "--words", ""],
        ["write", "--apply", ""],
        ["export", "-o", ""],
        ["playlist", "calm", "-o", ""],
        ["reproduce", "open", "--data", "immich", "--run", ""],
    ],
)
def test_an_empty_name_is_not_the_current_folder(
    arguments: list[str], music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a variable that is not set: `moodbook write "$ALBUM"`."""
    monkeypatch.chdir(music)
    before = bytes_of(music)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert "the name is empty" in done.stderr
    assert bytes_of(music) == before


def test_ctrl_c_names_the_undoing_of_what_was_written(
    call: Call, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, heard = Listener.objection, []

    def objection(listener: Listener, old: Path, new: Path) -> str | None:
        heard.append(old)
        if len(heard) == 2:
            raise KeyboardInterrupt
        return real(listener, old, new)

    call("write", music, "--top", 1, "--plan", tmp_path / "plan.json")
    monkeypatch.setattr(Listener, "objection", objection)
    done = call("write", "--apply", tmp_path / "plan.json", "--yes")
    (run,) = (tmp_path / "journal").glob("*.jsonl")
    assert done.exit_code == 130
    assert f"moodbook: to undo this: moodbook undo {run.stem} --journal {tmp_path / 'journal'}\n" in done.stderr
    assert done.stderr.endswith("moodbook: stopped by the user\n")
    monkeypatch.undo()
    assert [record["status"] for record in records(call("undo", run.stem, "--yes").stdout)] == ["written"]
    assert not mood(music / "lava.opus")


def test_bad_files_stop_nothing(call: Call, music: Path) -> None:
    (music / "bad.mp3").write_text("no")
    (music / "lava.opus").chmod(0o444)
    done = call("write", music, music / "absent.flac", "--top", 1, "--yes")
    assert done.exit_code == 1
    status = {Path(record["path"]).name: record["status"] for record in records(done.stdout)}
    assert status == {"bad.mp3": "failed", "absent.flac": "failed", "lava.opus": "failed", "taiko.opus": "written"}
    assert "moodbook: 3 of 4 cannot be written" in done.stderr
    assert mood(music / "taiko.opus")


def test_words_merge_and_overwrite(call: Call, music: Path, tmp_path: Path, tiny_bundle) -> None:
    path = music / "lava.opus"
    sound = OggOpus(path)
    sound["MOOD"] = ["mine"]
    sound.save()
    words = tmp_path / "words.toml"
    words.write_text("\n".join(f'{tag} = "so {tag}"' for tag in tiny_bundle.tags))
    assert call("write", path, "--top", 1, "--yes").exit_code == 0
    assert mood(path) == ["mine"]
    assert call("write", path, "--top", 1, "--yes", "--merge", "--words", words).exit_code == 0
    assert mood(path)[0] == "mine"
    assert mood(path)[1].startswith("so ")
    assert call("write", path, "--minimum", 0, "--yes", "--overwrite", "--words", words).exit_code == 0
    assert sorted(mood(path)) == sorted(f"so {tag}" for tag in tiny_bundle.tags)


def test_the_time_of_change_is_kept_unless_asked(call: Call, music: Path) -> None:
    for name in ("lava.opus", "taiko.opus"):
        os.utime(music / name, ns=(10**18, 10**18))
    call("write", music / "lava.opus", "--top", 1, "--yes")
    call("write", music / "taiko.opus", "--top", 1, "--yes", "--touch")
    assert (music / "lava.opus").stat().st_mtime_ns == 10**18
    assert (music / "taiko.opus").stat().st_mtime_ns > 10**18


def test_a_file_below_the_threshold_gets_nothing(call: Call, music: Path) -> None:
    done = call("write", music, "--minimum", 1, "--yes")
    assert {record["reason"] for record in records(done.stdout)} == {"no word to write is strong enough for it"}
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name files or folders, or a saved plan"),
        (["x", "--apply", "p"], "name files or folders, or a saved plan"),
        (["x", "--merge", "--overwrite"], "exclude each other"),
        (["--apply", "p", "--plan", "q"], "exclude each other"),
        (["--apply", "p", "--top", "2"], "leave out --top, or make another plan"),
        (["--apply", "p", "--minimum", "0", "--words", "w"], "leave out --minimum, --words,"),
        (["--apply", "p", "--overwrite", "--listen"], "leave out --overwrite, --listen,"),
        (["--apply", "p", "--merge"], "leave out --merge,"),
        (["--apply", "p", "--model", "open"], "leave out --model,"),
        (["--apply", "missing.json"], "cannot read the plan 'missing.json'"),
        (["."], "found no audio below ."),
        (["x", "--words", "missing.toml"], "cannot read the words 'missing.toml'"),
    ],
)
def test_what_cannot_be_run_exits_with_2(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    done = call("write", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())


def test_a_journal_that_cannot_be_written_keeps_every_file(call: Call, music: Path, tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    before = bytes_of(music)
    done = call("write", music, "--top", 1, "--yes")
    assert done.exit_code == 2
    assert "cannot list the journals" in done.stderr
    assert bytes_of(music) == before


def leave_a_crash(music: Path, journal: Path) -> Path:
    """Leave what a crash leaves: a journal without its end, and a half copy."""
    path = music / "lava.opus"
    (task,) = build_plan([Proposal(path, ("calm",), {"calm": 0.5}, "m", "0" * 64)]).tasks
    copy = new_copy_name(path)
    with open_journal(journal, "write") as opened:
        opened.begin(task, copy)
    copy.write_bytes(b"half")
    return copy


def test_the_doctor_cleans_up_and_says_what(call: Call, music: Path, tmp_path: Path) -> None:
    copy = leave_a_crash(music, tmp_path / "journal")
    done = call("doctor")
    assert done.exit_code == 0
    assert [(record["kind"], record["path"]) for record in records(done.stdout)] == [
        ("copy removed", str(copy)),
        ("file is old", str(music / "lava.opus")),
    ]
    assert not copy.exists()
    assert call("doctor").stdout == ""


def test_the_next_run_cleans_up_too(call: Call, music: Path, tmp_path: Path) -> None:
    copy = leave_a_crash(music, tmp_path / "journal")
    done = call("write", music, "--top", 1, "--yes")
    assert done.exit_code == 0
    assert not copy.exists()
    assert "moodbook: 2 left by a run that was cut off" in done.stderr


def test_what_needs_eyes_ends_the_doctor_with_1(call: Call, music: Path, tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "20200101-000000-000000-abcdef.jsonl").write_text("[]\n[]\n")
    assert call("doctor").exit_code == 1
    assert call("undo", "--list").exit_code == 1


def test_undo_stops_at_a_later_run_that_cannot_be_read(call: Call, music: Path, tmp_path: Path) -> None:
    call("write", music, "--top", 1, "--yes")
    (run,) = records(call("undo", "--list").stdout)
    bad = tmp_path / "journal" / "29990101-000000-000000-abcdef.jsonl"
    bad.write_text('{"event": "run", "version": 2, "run": "x"}\n{"event": "leap"}\n')
    before = bytes_of(music)
    done = call("undo", "--yes")
    assert done.exit_code == 2
    assert bad.stem in done.stderr
    assert "of a newer Moodbook" in done.stderr
    assert run["run"] in done.stderr
    assert "moodbook: 1 journal cannot be read" in done.stderr
    assert "cut off" not in done.stderr
    assert bytes_of(music) == before
    assert call("undo", run["run"], "--yes").exit_code == 0
    assert not mood(music / "lava.opus")


@pytest.mark.parametrize("name", ["missing", "file"])
def test_the_doctor_of_a_place_that_holds_no_journal(call: Call, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    done = call("doctor", "--journal", tmp_path / name)
    assert (done.exit_code, done.stdout) == (2, "")
    assert name in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--list"], ["--yes"]])
def test_undo_of_a_folder_that_is_not_there(call: Call, tmp_path: Path, arguments: list[str]) -> None:
    done = call("undo", "--journal", tmp_path / "typo", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"there is no folder '{tmp_path / 'typo'}'" in done.stderr


def test_the_own_journal_need_not_be_there_yet(tmp_path: Path) -> None:
    environment = {"MOODBOOK_DATA": str(tmp_path / "data")}
    done = CliRunner().invoke(app, ["undo", "--list"], env=environment)
    assert (done.exit_code, done.stdout) == (0, "")
    assert "there is nothing to undo" in CliRunner().invoke(app, ["undo"], env=environment).stderr


def test_commands_that_are_named_can_be_pasted_into_a_shell(call: Call, music: Path, tmp_path: Path) -> None:
    plan, journal = tmp_path / "my plan.json", tmp_path / "my journal"
    saved = call("write", music, "--top", 1, "--plan", plan)
    assert saved.stderr.endswith(f"moodbook write --apply '{plan}'\n")
    done = call("write", "--journal", journal, "--apply", plan, "--yes")
    assert done.stderr.endswith(f" --journal '{journal}'\n")


def run_into(stdout: int, *arguments: object, unbuffered: str = "") -> subprocess.CompletedProcess[str]:
    """Run moodbook in a process of its own, with an output that cannot be written."""
    return subprocess.run(
        [sys.executable, "-c", "from moodbook.cli.app import main; main()", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_confirmed_job_goes_on_without_a_reader(call: Call, music: Path, tmp_path: Path, unbuffered: str) -> None:
    journal = tmp_path / "journal"
    (music / "bad.mp3").write_text("no")
    call("write", music, "--top", 1, "--plan", tmp_path / "plan.json")
    reader, writer = os.pipe()
    os.close(reader)
    apply = ("write", "--apply", tmp_path / "plan.json", "--journal", journal, "--yes")
    done = run_into(writer, *apply, unbuffered=unbuffered)
    assert done.returncode == 0, done.stderr
    assert "the output ended early (Broken pipe), the work went on: 2 written\n" in done.stderr
    assert "to undo this: moodbook undo" in done.stderr
    assert mood(music / "lava.opus")
    assert mood(music / "taiko.opus")
    (music / "taiko.opus").unlink()
    undone = run_into(writer, "undo", "--journal", journal, "--yes", unbuffered=unbuffered)
    os.close(writer)
    assert undone.returncode == 1
    assert "1 of 2 cannot be undone" in undone.stderr
    assert "the work went on: 1 written\n" in undone.stderr
    assert not mood(music / "lava.opus")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")  # noqa: PTH110
def test_a_confirmed_job_whose_output_is_lost_is_done_and_has_failed(call: Call, music: Path, tmp_path: Path) -> None:
    call("write", music, "--top", 1, "--plan", tmp_path / "plan.json")
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = run_into(full.fileno(), "write", "--apply", tmp_path / "plan.json", "--journal", tmp_path / "j", "--yes")
    assert done.returncode == 2
    assert "the output ended early (No space left on device), the work went on: 2 written\n" in done.stderr
    assert mood(music / "taiko.opus")
    call("undo", "--journal", tmp_path / "j", "--yes")
    (run,) = [row["run"] for row in records(call("undo", "--journal", tmp_path / "j", "--list").stdout)][:1]
    with open("/dev/full", "w") as full:  # noqa: PTH123
        nothing = run_into(full.fileno(), "undo", run, "--journal", tmp_path / "j", "--yes")
    assert nothing.returncode == 2
    assert "No space left on device" in nothing.stderr


def test_undo_leaves_what_somebody_changed(call: Call, music: Path) -> None:
    call("write", music, "--top", 1, "--yes")
    sound = OggOpus(music / "lava.opus")
    sound["MOOD"] = ["mine"]
    sound.save()
    done = call("undo", "--yes")
    assert done.exit_code == 1
    assert "1 of 2 cannot be undone" in done.stderr
    assert mood(music / "lava.opus") == ["mine"]
    assert not mood(music / "taiko.opus")


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the verbs take their output for a terminal, and somebody on it who says yes."""
    for module in ("filetags", "undo", "doctor"):
        monkeypatch.setattr(f"moodbook.cli.{module}.prints_json", lambda as_json: as_json)
    for module in ("write", "undo"):
        monkeypatch.setattr(f"moodbook.cli.{module}.ask", lambda question, as_json: True)


@pytest.mark.usefixtures("terminal")
def test_the_tables_of_every_verb(call: Call, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (music / "bad.mp3").write_text("no")
    done = call("write", music, "--top", 1)
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["file", "mood", "now", "mood", "then"]
    assert lines[1].split() == ["music/lava.opus", "-", *mood(music / "lava.opus")]
    assert lines[3] == "2 written"
    again = call("write", music / "lava.opus", "--top", 1)
    assert "1 need nothing\n  " in again.stderr
    assert call("undo", "--list").stdout.splitlines()[1].split()[-1] == "done"
    undone = call("undo")
    assert undone.stdout.splitlines()[-1] == "2 written"
    assert "undone" in call("undo", "--list").stdout
    assert call("doctor").stdout == "All is well. Runs on record: 2, none of them cut off.\n"
    leave_a_crash(music, tmp_path / "journal")
    assert [line.partition(":")[0] for line in call("doctor").stdout.splitlines()] == ["copy removed", "file is old"]


@pytest.mark.usefixtures("terminal")
def test_a_long_table_is_cut_and_an_empty_journal_is_said(
    call: Call, music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moodbook.cli.filetags._SHOWN_ROWS", 1)
    (tmp_path / "journal").mkdir()
    assert "no run has a journal" in call("undo", "--list").stderr
    assert "and 1 more" in call("write", music, "--top", 1).stdout


def on_a_terminal(arguments: list[str], answer: str, folder: Path) -> tuple[int, str]:
    """Run moodbook on a pseudo-terminal, answer its question, and give exit code and text."""
    main, other = pty.openpty()
    environment = {**os.environ, "COLUMNS": "120", "TERM": "dumb", "PYTHONUTF8": "1", "MOODBOOK_DATA": str(folder)}
    command = [sys.executable, "-c", "from moodbook.cli.app import main; main()", *arguments]
    process = subprocess.Popen(
        command,
        stdin=other,
        stdout=other,
        stderr=other,
        env=environment,
        cwd=folder,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # So that Ctrl-C is its signal.
    )
    os.close(other)
    text = b""
    answered = False
    while select.select([main], [], [], 60)[0]:
        try:
            data = os.read(main, 1 << 16)
        except OSError:
            break
        if not data:
            break
        text += data
        if not answered and b"[y/N]" in text:
            answered = True
            # As a hand does, press when the program waits for a key: Python sees a signal that falls between the
            # prompt and the waiting at the next key only.
            time.sleep(0.5)
            os.write(main, answer.encode() + b"\n" if answer.isprintable() else answer.encode())
    os.close(main)
    return process.wait(), text.decode()


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
def test_on_a_terminal_it_shows_and_asks(music: Path, tiny_bundle, tmp_path: Path) -> None:
    before = bytes_of(music)
    model = ["--model", str(tiny_bundle.folder)]
    code, text = on_a_terminal(["write", "music", *model, "--top", "1"], "n", tmp_path)
    assert code == 0, text
    assert "mood then" in text
    assert "music/lava.opus" in text
    assert "Write 2 files?" in text
    assert "nothing was written" in text
    assert bytes_of(music) == before

    for stop in ("\x03", "\x04"):  # Ctrl-C and Ctrl-D.
        code, text = on_a_terminal(["write", "music", *model, "--top", "1"], stop, tmp_path)
        assert code == 130, text
        assert "nothing was written" in text
        assert "stopped by the user" in text
        assert "Aborted" not in text
        assert bytes_of(music) == before

    code, text = on_a_terminal(["write", "music", *model, "--top", "1"], "y", tmp_path)
    assert code == 0
    assert "2 written" in text
    assert "to undo this: moodbook undo" in text
    assert mood(music / "lava.opus")
    assert list((tmp_path / "journal").glob("*.jsonl"))

    code, text = on_a_terminal(["undo", "--list"], "", tmp_path)
    assert "started" in text
    code, text = on_a_terminal(["undo"], "y", tmp_path)
    assert code == 0
    assert "2 written" in text
    assert not mood(music / "lava.opus")
    code, text = on_a_terminal(["doctor"], "", tmp_path)
    assert code == 0
    assert "All is well. Runs on record: 2, none of them cut off." in text
