"""What would be written into which files: a document that can be looked at, kept, and applied later."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from moodbook import audio
from moodbook.errors import AudioError, PlanError, TagError
from moodbook.library.filetags.elsewhere import moods_elsewhere
from moodbook.library.filetags.fields import FieldNames, Fields, check_length, moods, text_hash
from moodbook.library.filetags.formats import tag_format, typed_errors
from moodbook.library.filetags.paths import decode_path, encode_path
from moodbook.library.filetags.rewrite import (
    FileState,
    Rewrite,
    check_is_as_planned,
    check_may_be_written,
    read_fields,
    read_state,
)
from moodbook.model.scores import TagFailure, TagStrength, strongest
from moodbook.outputs import Format, begins, output_file

VERSION = 1
"""Of the document; one of another version is refused."""

Policy = Literal["empty", "merge", "overwrite"]
"""What becomes of a mood that a file has: it stays and nothing is written; it gets the new words too; it gives way."""

_SCORE_DECIMALS = 4
_HAS_MOOD = "it has a mood already"
_HAS_MOOD_ELSEWHERE = "it has a mood already, in another tag than the one that Moodbook writes"
_HAS_WORDS = "it has these words already"
_NO_WORD = "no word to write is strong enough for it"
_NO_MUSIC = "no music is heard in it: silence, noise or speech"
_NOTHING_NEW = "the plan writes nothing into it"
_MOST_FIELDS, _MOST_VALUES = 8, 1_000


@dataclass(frozen=True)
class Proposal:
    """What somebody (a model, a catalogue) says about a file.

    Attributes:
        path: The file.
        words: The words for its mood, the strongest first; none for what is no music.
        scores: Probability of every word of the model.
        model_name: On whose word this stands.
        model_sha256: Its hash.
        is_music: Whether what is heard is music at all.
    """

    path: Path
    words: tuple[str, ...]
    scores: Mapping[str, float]
    model_name: str
    model_sha256: str
    is_music: bool = True

    def scores_text(self) -> str:
        """Write the scores as the text of their field: JSON in one line."""
        rounded = {word: round(float(score), _SCORE_DECIMALS) for word, score in self.scores.items()}
        document = {"model": self.model_name, "sha256": self.model_sha256, "scores": rounded}
        return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Skipped:
    """A file to which nothing needs to be done.

    Attributes:
        path: The file.
        moods: What its mood is.
        reason: Why nothing is done.
    """

    path: Path
    moods: list[str]
    reason: str


@dataclass
class Plan:
    """What would be written.

    Attributes:
        tasks: The files that would be written.
        skipped: The files that need nothing.
        failures: The files that cannot be written, and why.
        policy: What becomes of moods that are there.
    """

    tasks: list[Rewrite] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    failures: list[TagFailure] = field(default_factory=list)
    policy: Policy = "empty"
    _named: set[str] = field(default_factory=set, repr=False, compare=False)

    def add(self, task: Rewrite) -> None:
        """Take a file in, unless it is there already, under whatever name, or would stay as it is."""
        real = os.path.realpath(task.path)
        if task.before == task.after:
            self.skipped.append(Skipped(task.path, moods(task.before), _HAS_WORDS if task.after else _NOTHING_NEW))
        elif real in self._named:
            self.skipped.append(Skipped(task.path, moods(task.before), "it is the same file as one before it"))
        else:
            self._named.add(real)
            self.tasks.append(task)


@runtime_checkable
class Said(Protocol):
    """What a model says about a file, heard now (`TagScores`) or remembered (`moodbook.library.recall.Recalled`)."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def strengths(self) -> tuple[TagStrength, ...]:
        """Every word with its strength, in the model's order."""

    @property
    def is_music(self) -> bool:
        """Whether what is heard is music at all."""

    @property
    def model_name(self) -> str:
        """Whose words they are."""

    @property
    def model_sha256(self) -> str:
        """Its hash."""


def propose(
    result: Said, *, top: int | None = None, minimum: float | None = None, words: Mapping[str, str] | None = None
) -> Proposal:
    """Choose the words for a file from a model's scores; for silence, noise or speech there are none.

    Args:
        result: What the model says.
        top: The strongest so many that have a word; with `minimum`, of those.
        minimum: Those with at least this probability. Without both: those above their own thresholds.
        words: The owner's word for a model's; an empty one drops it, one that is not listed stays.
    """
    said = {strength.tag: (words or {}).get(strength.tag, strength.tag) for strength in result.strengths}
    strengths = tuple(strength for strength in strongest(result.strengths) if said[strength.tag])
    if minimum is not None:
        strengths = tuple(strength for strength in strengths if strength.probability >= minimum)
    if top is not None:
        strengths = strengths[:top]
    if not result.is_music or (top is None and minimum is None):  # Of what is no music nothing is decided.
        strengths = tuple(strength for strength in strengths if strength.decided)
    chosen: dict[str, str] = {}
    for strength in strengths:
        # Two spellings of a word are one, as where words are added to those that a file has; the strongest stands.
        word = said[strength.tag]
        chosen.setdefault(word.casefold(), word)
    return Proposal(
        path=result.path,
        words=tuple(chosen.values()),
        scores={strength.tag: strength.probability for strength in result.strengths},
        model_name=result.model_name,
        model_sha256=result.model_sha256,
        is_music=result.is_music,
    )


def build_plan(proposals: Iterable[Proposal | Skipped | TagFailure], policy: Policy = "empty") -> Plan:
    """Compare what is said about files with what they hold. Nothing is written.

    Args:
        proposals: What is said; what `check_early` said of a file, and a failure, are handed through.
        policy: What becomes of moods that are there.
    """
    plan = Plan(policy=policy)
    for proposal in proposals:
        step = plan_file(proposal, policy) if isinstance(proposal, Proposal) else proposal
        match step:
            case Rewrite():
                plan.add(step)
            case Skipped():
                plan.skipped.append(step)
            case TagFailure():
                plan.failures.append(step)
    return plan


def check_early(path: Path, policy: Policy) -> Skipped | TagFailure | None:
    """Tell, before a model has listened to a file, that nothing will be written into it; None where something may."""
    try:
        held = moods(read_fields(path))
        check_length(path, held)
        if held and policy == "empty":
            return Skipped(path, held, _HAS_MOOD)
        if skipped := _look_elsewhere(path, policy):
            return skipped
        check_may_be_written(path)
    except (AudioError, TagError) as error:
        return TagFailure(path, error.reason)
    return None


def plan_file(proposal: Proposal, policy: Policy) -> Rewrite | Skipped | TagFailure:
    """Compare what is said about one file with what it holds."""
    path = Path(proposal.path)
    try:
        return _plan_file(path, proposal, policy)
    except (AudioError, TagError) as error:
        return TagFailure(path, error.reason)


def _plan_file(path: Path, proposal: Proposal, policy: Policy) -> Rewrite | Skipped:
    state = read_state(path)
    before = read_fields(path)
    with typed_errors(path, "reading the tags"):
        _, tags = tag_format(path)
        names = tags.names(path)
    held = moods(before)
    after = _new_fields(proposal, before, names, policy)
    for words in (held, moods(after)):
        check_length(path, words)
    if held and policy == "empty":
        return Skipped(path, held, _HAS_MOOD)
    if skipped := _look_elsewhere(path, policy):
        return skipped
    if not proposal.words:
        return Skipped(path, held, _NO_WORD if proposal.is_music else _NO_MUSIC)
    if after == before:
        return Skipped(path, held, _HAS_WORDS)
    check_may_be_written(path)
    task = Rewrite(path, state, audio.payload_hash(path), before, after)
    if read_state(path) != state:
        raise TagError(path, "it was changed while it was looked at. Try again when nothing writes it.")
    return task


def _look_elsewhere(path: Path, policy: Policy) -> Skipped | None:
    """Leave a file alone that has a mood in a tag which is not written; None where it has none."""
    held = moods_elsewhere(path)
    if held and policy != "empty":
        raise TagError(
            path,
            f"it has a mood ({', '.join(held)}) in another tag than the one that Moodbook writes, which would go on "
            "saying so. Move it, or remove it there, with a tag editor first.",
        )
    return Skipped(path, held, _HAS_MOOD_ELSEWHERE) if held else None


def _new_fields(proposal: Proposal, before: Fields, names: FieldNames, policy: Policy) -> Fields:
    held = moods(before) if policy == "merge" else []
    known = {word.casefold() for word in held}
    words = held + [word for word in proposal.words if word.casefold() not in known]
    # A field keeps the spelling of its name that the file has: "mood" is not "MOOD" to every program.
    mood = next((name for name in before if name.casefold() == names.mood.casefold()), names.mood)
    kept = next((name for name in before if name.casefold() == names.scores.casefold()), names.scores)
    text = proposal.scores_text()
    return {mood: words, kept: [text]}


class _FileDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    path: dict[str, str]
    size: int = Field(ge=0)
    mtime_ns: int
    payload_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    before: Fields
    after: Fields


class _NoteDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    path: dict[str, str]
    reason: str
    moods: list[str] = []


class _PlanDocument(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    kind: Literal["moodbook plan"]
    version: Literal[1]
    created: str
    policy: Policy
    files: list[_FileDocument]
    skipped: list[_NoteDocument] = []
    failures: list[_NoteDocument] = []
    sha256: str = ""  # Of all the rest as it was saved: tells whether it was edited, which it may be.


def _is_unedited(path: Path) -> bool:
    """Whether a file is a plan that says what it said when it was saved."""
    if not begins('{\n "kind": "moodbook plan",\n')(path):
        return False
    try:
        document = json.loads(path.read_bytes())
        return bool(document.pop("sha256", "") == text_hash(_text_of(document)))
    except (ValueError, RecursionError):
        return False


def _text_of(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


FORMATS = (Format(".json", "an unedited plan", _is_unedited),)
"""What a plan is saved as."""


def save_plan(plan: Plan, path: Path, *, force: bool = False) -> None:
    """Write a plan as JSON, whole or not at all.

    Args:
        plan: What to write.
        path: Where to, ending in .json.
        force: Replace a file that is no plan, or one that was edited.

    Raises:
        DataError: The ending is another, the file must not be replaced, or it cannot be written.
    """
    document: dict[str, Any] = {
        "kind": "moodbook plan",
        "version": VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "policy": plan.policy,
        "files": [
            {
                "path": encode_path(task.path.absolute()),
                "size": task.state.size,
                "mtime_ns": task.state.mtime_ns,
                "payload_sha256": task.payload,
                "before": task.before,
                "after": task.after,
            }
            for task in plan.tasks
        ],
        "skipped": [
            {"path": encode_path(skipped.path), "reason": skipped.reason, "moods": skipped.moods}
            for skipped in plan.skipped
        ],
        "failures": [
            {"path": encode_path(failure.path), "reason": failure.to_dict()["error"]} for failure in plan.failures
        ],
    }
    document["sha256"] = text_hash(_text_of(document))
    with output_file(path, FORMATS, force=force) as part:
        part.write_bytes(_text_of(document))


def load_plan(path: Path) -> Plan:
    """Read a plan.

    Raises:
        PlanError: It cannot be read, is no plan, of another version, or would write other fields than the mood.
    """
    try:
        document = _PlanDocument.model_validate_json(path.read_bytes())
    except OSError as error:
        raise PlanError(f"cannot read the plan {str(path)!r}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise PlanError(f"{str(path)!r} is no plan of version {VERSION}: {place}: {first['msg']}") from error
    plan = Plan(
        skipped=[Skipped(decode_path(note.path, str(path)), note.moods, note.reason) for note in document.skipped],
        failures=[TagFailure(decode_path(note.path, str(path)), note.reason) for note in document.failures],
        policy=document.policy,
    )
    for task in _tasks(document, path):
        plan.add(task)
    return plan


def look_again(plan: Plan) -> None:
    """Make failures of the files of a plan that cannot be written any more, such as those that are gone."""
    tasks, plan.tasks = plan.tasks, []
    for task in tasks:
        try:
            check_is_as_planned(task)
        except (AudioError, TagError) as error:
            plan.failures.append(TagFailure(task.path, error.reason))
        else:
            plan.tasks.append(task)


def _tasks(document: _PlanDocument, path: Path) -> Iterator[Rewrite]:
    for file in document.files:
        for fields in (file.before, file.after):
            if len(fields) > _MOST_FIELDS or any(len(values) > _MOST_VALUES for values in fields.values()):
                raise PlanError(f"{str(path)!r} has more fields or values for one file than can be meant")
        yield Rewrite(
            decode_path(file.path, str(path)),
            FileState(file.size, file.mtime_ns),
            file.payload_sha256,
            file.before,
            file.after,
        )
