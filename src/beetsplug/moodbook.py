"""Moodbook for beets: moods as fields of your library, asked for like any other field.

    plugins: moodbook
    moodbook:
        auto: yes        # music that is imported is heard
        write: no        # yes: the moods also go into the files, as `moodbook write` does it
        model: open      # a model, or the name of words of your own (`moodbook personal`)
        catalogue:       # the catalogue whose scores are taken first; else the one that `moodbook search` asks

Fields of an item: ``moodbook``, the words that the model has decided for; ``moodbook_WORD``, the score of each word
from 0 to 1; ``moodbook_model``, whose they are. ``feels:`` takes the queries of `moodbook search`.
"""

from __future__ import annotations

import operator
import optparse
import os
import sqlite3
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from beets import config, ui
from beets.dbcore import types
from beets.dbcore.query import FieldQuery, InvalidQueryError
from beets.exceptions import UserError
from beets.library import Item, Library
from beets.plugins import BeetsPlugin
from confuse import ConfigError

from moodbook import TagSet  # First: it keeps numpy, which the rest loads, to one thread.
from moodbook.errors import AudioError, ModelError, MoodbookError, QueryError
from moodbook.files import is_there
from moodbook.library.catalogue import Catalogue, catalogue_path
from moodbook.library.filetags import apply_tasks, build_plan, journal_folder, open_journal, propose, recover
from moodbook.library.metadata import read_metadata
from moodbook.library.query import And, Decided, Length, Not, Or, Query, Score, Text, parse_query
from moodbook.library.recall import Memory, Scores, Voice
from moodbook.library.search import fold, name_text, typed_text
from moodbook.model.scores import TagFailure

if TYPE_CHECKING:
    from beets.importer import ImportSession, ImportTask  # It loads numpy.

WORDS = "moodbook"
MODEL = "moodbook_model"
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    "!=": operator.ne,
}


def score_field(word: str) -> str:
    """Name the field of a word's score: ``moodbook_late_night`` for "late night".

    Letters of every script, their marks and digits stay; a word of signs alone gets the numbers of its characters.
    """
    folded = fold(word)
    kept = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in folded)
    return "_".join([WORDS, *(kept.split() or (f"u{ord(sign):x}" for sign in folded))])


class FeelsQuery(FieldQuery[str]):
    """A query of `moodbook search`, asked of an item's fields.

    Raises:
        InvalidQueryError: It cannot be understood.
    """

    tags: ClassVar[TagSet]
    model: ClassVar[str]

    def __init__(self, field_name: str, pattern: str, fast: bool = True) -> None:
        super().__init__(field_name, pattern, fast=False)  # beets asks item by item: no column holds the answer.
        try:
            self._query = parse_query(pattern, self.tags)
        except QueryError as error:
            raise InvalidQueryError(pattern, error) from error

    def match(self, obj: Any) -> bool:
        """Whether an item meets the query; one that this model has not heard meets none, as in the catalogue."""
        return obj.get(MODEL) == self.model and meets(self._query, obj)


class MuteQuery(FieldQuery[str]):
    """What ``feels:`` is while the model cannot be loaded.

    Raises:
        InvalidQueryError: Always, with the reason.
    """

    reason: ClassVar[MoodbookError]

    def __init__(self, field_name: str, pattern: str, fast: bool = True) -> None:
        raise InvalidQueryError(pattern, self.reason)


def meets(query: Query, item: Any) -> bool:
    """Whether an item that was heard meets a condition."""
    if isinstance(query, Decided):
        return query.tag in (item.get(WORDS) or [])
    if isinstance(query, Score):
        score = item.get(score_field(query.tag))
        return score is not None and _COMPARISONS[query.comparison](float(score), query.value)
    if isinstance(query, Length):
        seconds = float(item.get("length") or 0)  # Of what beets cannot read it is 0.
        return seconds > 0 and _COMPARISONS[query.comparison](seconds, query.seconds)
    if isinstance(query, Text):
        wanted = fold(typed_text(query.text))
        held = [fold(text) for text in _texts(item, query.field)]
        return any(text == wanted if query.whole else wanted in text for text in held)
    if isinstance(query, Not):
        return not meets(query.part, item)
    if isinstance(query, Or):
        return any(meets(part, item) for part in query.parts)
    return isinstance(query, And) and all(meets(part, item) for part in query.parts)


def _texts(item: Any, field: str) -> list[str]:
    if field == "mood":
        return list(_moods_in(_path_of(item)))
    if field == "path":
        return [name_text(item["path"])]
    return [str(item.get(field) or "")]


def _moods_in(path: Path) -> tuple[str, ...]:
    """Read the moods that stand in a file; none where it cannot be read."""
    try:
        return read_metadata(path).moods
    except (AudioError, OSError):
        return ()


class MoodbookPlugin(BeetsPlugin):
    """Hears items, and keeps what it heard in their fields."""

    def __init__(self) -> None:
        super().__init__("moodbook")
        self.config.add({"auto": True, "write": False, "model": "open", "catalogue": ""})
        self._wrong: ConfigError | None = None
        try:
            auto, self._writes = self.config["auto"].get(bool), self.config["write"].get(bool)
            self._name = self.config["model"].as_str()
        except ConfigError as error:
            self._wrong = error  # beets shows a traceback of whatever is raised here; `commands` says it.
            return
        self._missing: MoodbookError | None = None
        feels: type[FieldQuery[str]]
        try:
            self._loaded = Voice(self._name)
            words = self._loaded.words
            self._fields = {score_field(word) for word in words}
            if len(self._fields) < len(words) or MODEL in self._fields:
                raise ModelError("two words of this model would be one field; rename them")
            feels = type("FeelsQuery", (FeelsQuery,), {"tags": words, "model": self._model})
        except MoodbookError as error:
            # The library is of use without: scores that are there stay numbers.
            self._log.warning("the model cannot be used: {}", error)
            self._missing = error
            self._fields = _stored_fields()
            feels = type("MuteQuery", (MuteQuery,), {"reason": error})
        self.item_types: Mapping[str, types.Type[Any, Any]] = {
            WORDS: types.SEMICOLON_SPACE_DSV,
            MODEL: types.STRING,
            **dict.fromkeys(self._fields, types.NULL_FLOAT),
        }
        self.item_queries = {"feels": feels}
        if auto:
            self.import_stages = [self.imported]
            if self._writes:
                # Only now the files are where they stay: one that is copied from elsewhere is never touched.
                self.register_listener("import_task_files", self.placed)

    def commands(self) -> Sequence[ui.Subcommand]:
        """Give ``beet moodbook``.

        Raises:
            UserError: The settings of the plugin cannot be used.
        """
        if self._wrong is not None:
            raise UserError(f"the settings of moodbook cannot be used: {self._wrong}. Correct them in config.yaml")
        command = ui.Subcommand("moodbook", help="hear what music feels like, and keep it in its fields")
        command.parser.usage = "%prog [options] [QUERY]"
        command.parser.add_option(
            "-f", "--force", action="store_true", default=False, help="also items that this model has heard"
        )
        command.parser.add_option(
            "-w", "--write", action="store_true", default=False, help="also write the moods into the files"
        )
        command.func = self._command
        return [command]

    def imported(self, session: ImportSession, task: ImportTask) -> None:
        """Hear what is imported; music that cannot be heard is imported without moods."""
        with self._errors_logged():
            self._hear(task.imported_items())

    def placed(self, session: ImportSession, task: ImportTask) -> None:
        """Write the moods of what was imported, once it is in its place."""
        items = []
        for item in task.imported_items():
            path = _path_of(item)
            if path.is_symlink():
                self._log.warning("not written: {} is a link to the file that was imported, which stays as it is", path)
            else:
                items.append(item)
        with self._errors_logged():
            self._write(items)

    def _command(self, lib: Library, options: optparse.Values, arguments: list[str]) -> None:
        items = list(lib.items(arguments))
        with self._errors_said():
            wanted = [item for item in items if options.force or item.get(MODEL) != self._model]
            failed = self._hear(wanted)
            if options.write or self._writes:
                failed |= self._write(item for item in items if _path_of(item) not in failed)
        if failed:
            count = sum(_path_of(item) in failed for item in items)
            raise UserError(f"moodbook: {count} of {len(items)} items could not be heard or written")

    @property
    def _voice(self) -> Voice:
        if self._missing is not None:
            raise self._missing
        return self._loaded

    @property
    def _model(self) -> str:
        head = self._voice.head
        sha256 = self._voice.sha256 if head is None else head.sha256
        return f"{self._name} {sha256[:12]}"

    def _hear(self, items: Sequence[Item]) -> set[Path]:
        """Fill in the fields; give the files that could not be heard."""
        failed = set()
        for item, result in self._scores(items):
            if isinstance(result, TagFailure):
                self._log.warning("cannot hear {}: {}", result.path, result.reason)
                failed.add(_path_of(item))
                continue
            item[WORDS] = [strength.tag for strength in result.strengths if strength.decided]
            item[MODEL] = self._model
            for strength in result.strengths:
                item[score_field(strength.tag)] = strength.probability
            # Words that another model had, or this one before it was fitted again, are not its words.
            for field in [key for key in item if key.startswith(f"{WORDS}_") and key not in {MODEL, *self._fields}]:
                del item[field]
            item.store()
        return failed

    def _scores(self, items: Sequence[Item]) -> Iterator[tuple[Item, Any]]:
        """Give the scores of items: from the catalogue where it has them, else heard now."""
        with ExitStack() as stack:
            named = self.config["catalogue"].get()
            path = Path(str(named)).expanduser() if named else catalogue_path()
            memory = None
            if named or is_there(path):
                memory = Memory.of(stack.enter_context(Catalogue(path)), self._voice)
            paths = [_path_of(item) for item in items]
            scores = Scores(self._voice, memory)
            yield from zip(items, scores.of_files(paths), strict=True)
        known, heard = scores.recalled, scores.heard
        self._log.info("{} items: the catalogue knew {}, {} listened to", len(items), known, heard)

    def _write(self, items: Iterable[Item]) -> set[Path]:
        """Write the moods as `moodbook write` does; give the files that failed."""
        heard = [item for item in items if item.get(MODEL) == self._model]
        results = (result if isinstance(result, TagFailure) else propose(result) for _, result in self._scores(heard))
        plan = build_plan(results)
        failed = {Path(failure.path) for failure in plan.failures}
        for failure in plan.failures:
            self._log.warning("cannot write {}: {}", failure.path, failure.reason)
        if plan.tasks:
            folder = journal_folder()
            recover(folder)
            with open_journal(folder, "write", on_wait=self._say_waiting) as journal:
                try:
                    for written in apply_tasks(plan.tasks, journal):
                        if written.status == "failed":
                            self._log.warning("cannot write {}: {}", written.path, written.reason)
                            failed.add(written.path)
                finally:
                    if journal.written:
                        self._log.info("to undo what was written: moodbook undo {}", journal.name)
        return failed

    def _say_waiting(self, holder: str) -> None:
        self._log.info("another moodbook ({}) writes into files now; waiting until it is done", holder)

    @contextmanager
    def _errors_said(self) -> Iterator[None]:
        try:
            yield
        except MoodbookError as error:
            raise UserError(f"moodbook: {error}") from error

    @contextmanager
    def _errors_logged(self) -> Iterator[None]:
        """Let an import go on whatever stops Moodbook; ``beet moodbook`` hears later what is missing."""
        try:
            yield
        except MoodbookError as error:
            self._log.warning("imported without moods: {}", error)


def _path_of(item: Item) -> Path:
    return Path(os.fsdecode(item["path"]))


def _stored_fields() -> set[str]:
    """Name the fields of scores that the library of beets holds; none where there is no library yet."""
    statement = "SELECT DISTINCT key FROM item_attributes WHERE substr(key, 1, ?) = ?"
    start = f"{WORDS}_"
    try:
        address = f"{Path(config['library'].as_filename()).as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True)) as library:
            return {key for (key,) in library.execute(statement, (len(start), start))} - {MODEL}
    except sqlite3.Error:
        return set()
