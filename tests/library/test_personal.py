"""Words of the owner's own: the mathematics, what cross-validation promises, sources, the head on disk, the verbs."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import mutagen.flac
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.library.conftest import cut, enter
from typer.testing import CliRunner, Result

from moodbook.cli.app import app
from moodbook.errors import CatalogueError, DataError, ModelError, MoodbookError
from moodbook.library.catalogue import Catalogue
from moodbook.library.filetags import (
    Proposal,
    apply_tasks,
    build_plan,
    choose_run,
    journal_folder,
    open_journal,
    plan_undo,
    read_fields,
)
from moodbook.library.identity import music_hash
from moodbook.library.known_model import Model
from moodbook.library.metadata import Metadata
from moodbook.library.personal import (
    Examples,
    MoodsFound,
    Statement,
    apply_head,
    fit_words,
    gather,
    head_folder,
    read_head,
    read_moods,
    read_source,
    refresh_heads,
    resolve,
    suggest,
    write_head,
)
from moodbook.library.personal.fit import FOLDS, best_threshold, deal_folds, roc_auc
from moodbook.library.personal.head import HEAD_FILE, NEVER, WEIGHTS_FILE
from moodbook.library.personal.logistic import features, fit_weights, hessian, log_loss, probabilities
from moodbook.library.personal.suggest import _Doubt
from moodbook.library.playlist import read_m3u8, write_playlist
from moodbook.library.recall import Memory
from moodbook.library.scan import scan
from moodbook.library.search import Track, search
from moodbook.model.tagger import Tagger

DIMENSIONS = 12


@pytest.fixture(autouse=True)
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOODBOOK_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MOODBOOK_CATALOGUE", str(tmp_path / "catalogue.sqlite"))


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def made_up(count: int, *, seed: int = 0, told: float = 2.0, words: int = 1) -> Examples:
    """Examples whose words lie in the embeddings' first directions, told apart as well as `told` says."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, DIMENSIONS))
    labels = told * vectors[:, :words] + rng.normal(size=(count, words)) > 0
    return Examples(
        words=tuple(f"word-{n}" for n in range(words)),
        sha256s=tuple(f"{n:064x}" for n in range(count)),
        labels=labels,
        embeddings=unit(vectors),
        groups=np.arange(count),
        others=0,
        unheard=0,
    )


# The mathematics.


@pytest.mark.parametrize("penalty", [0.1, 1.0, 30.0])
def test_the_weights_are_those_of_scikit_learn(penalty: float) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    examples = made_up(80)
    rows, has_word = features(examples.embeddings), examples.labels[:, 0]
    theirs = linear_model.LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(rows[:, :-1], has_word)
    ours = fit_weights(rows, has_word, penalty)
    np.testing.assert_allclose(ours, [*theirs.coef_[0], theirs.intercept_[0]], atol=2e-4)


def test_the_gradient_is_zero_and_the_hessian_is_its_slope() -> None:
    examples = made_up(60)
    rows, has_word = features(examples.embeddings), examples.labels[:, 0]

    def gradient(weights: np.ndarray) -> np.ndarray:
        pull = 3.0 * weights
        pull[-1] = 0
        return rows.T @ (probabilities(rows, weights) - has_word) + pull

    weights = fit_weights(rows, has_word, 3.0)
    assert np.abs(gradient(weights)).max() < 1e-2
    step = 1e-5
    slopes = [
        (gradient(weights + step * unit) - gradient(weights - step * unit)) / (2 * step)
        for unit in np.eye(len(weights))
    ]
    np.testing.assert_allclose(np.stack(slopes), hessian(rows, weights, 3.0), rtol=1e-5, atol=1e-5)


def test_separable_examples_do_not_run_away() -> None:
    rows = features(unit(np.array([[1.0, 0.1], [1.0, -0.1], [-1.0, 0.2], [-1.0, -0.2]])))
    has_word = np.array([True, True, False, False])
    weights = fit_weights(rows, has_word, 1e-3)
    assert np.isfinite(weights).all()
    assert log_loss(rows, has_word, weights) < 0.05


def test_the_area_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for _ in range(20):
        has_word = rng.random(40) < 0.4
        scores = rng.integers(0, 10, 40) / 10  # Many equals.
        counts = rng.integers(0, 3, (40, 3)).astype(float)
        ours = roc_auc(has_word, scores, counts)
        for column in range(3):
            theirs = metrics.roc_auc_score(has_word, scores, sample_weight=counts[:, column])
            assert ours[column] == pytest.approx(theirs, abs=1e-12)
    assert np.isnan(roc_auc(np.ones(3, bool), np.arange(3.0), np.ones((3, 1)))).all()


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=1, max_size=12).filter(lambda x: any(x)))
def test_no_threshold_has_a_better_f(pairs: list[tuple[bool, int]]) -> None:
    has_word = np.array([has for has, _ in pairs])
    predicted = np.array([(score + 1) / 8 for _, score in pairs])

    def f_score(threshold: float) -> float:
        given = predicted > threshold
        both = given.sum() + has_word.sum()
        return 2 * (given & has_word).sum() / both if both else 0.0

    every = [-1.0, *predicted.tolist()]
    assert f_score(best_threshold(has_word, predicted)) == pytest.approx(max(map(f_score, every)))


# What cross-validation promises.


def test_groups_stay_on_one_side_and_every_fold_has_both_kinds() -> None:
    rng = np.random.default_rng(3)
    for seed in range(20):
        groups = rng.integers(0, 14, 90)
        has_word = np.isin(groups, [0, 3, 5, 7, 9, 11]) & (rng.random(90) < 0.8)
        names = tuple(f"{n:03}" for n in range(90))
        folds = deal_folds(has_word, groups, names, str(seed))
        for group in set(groups.tolist()):
            assert len(set(folds[groups == group].tolist())) == 1
        for fold in range(FOLDS):
            assert has_word[folds == fold].any()
            assert (~has_word)[folds == fold].any()
        shuffled = rng.permutation(90)
        again = deal_folds(has_word[shuffled], groups[shuffled], tuple(names[n] for n in shuffled), str(seed))
        assert (again == folds[shuffled]).all()


def test_a_word_that_can_be_told_is_learned_and_the_figures_hold_for_new_music() -> None:
    fitted = fit_words(made_up(200, told=3.0))
    (facts,) = fitted.words
    assert facts.is_decided
    new = made_up(4_000, seed=99, told=3.0)
    scores = probabilities(features(new.embeddings), fitted.weights[0])
    area = float(roc_auc(new.labels[:, 0], scores, np.ones((4_000, 1)))[0])
    assert facts.roc_auc.low - 0.02 <= area <= facts.roc_auc.high + 0.02
    given_word = scores > facts.threshold
    precision = new.labels[given_word, 0].mean()
    assert facts.precision.low - 0.03 <= precision <= facts.precision.high + 0.03


def test_words_that_mean_nothing_are_not_decided() -> None:
    decided = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        noise = made_up(60, seed=seed, words=3)
        noise = Examples(**{**vars(noise), "labels": rng.random((60, 3)) < 0.4})
        decided += sum(facts.is_decided for facts in fit_words(noise).words)
    # The interval is one of 95 %: of 24 words without meaning not one, rarely two, is above a guess.
    assert decided <= 2


def test_copies_on_both_sides_would_flatter() -> None:
    """What the groups are for: with three copies of each recording, ungrouped folds find words in noise."""
    rng = np.random.default_rng(5)
    single = made_up(40, seed=5)
    tripled = Examples(
        words=("noise",),
        sha256s=tuple(f"{n:064x}" for n in range(120)),
        labels=np.repeat(rng.random((40, 1)) < 0.5, 3, axis=0),
        embeddings=np.repeat(single.embeddings, 3, axis=0),
        groups=np.repeat(np.arange(40), 3),
        others=0,
        unheard=0,
    )
    (grouped,) = fit_words(tripled).words
    (straddling,) = fit_words(Examples(**{**vars(tripled), "groups": np.arange(120)})).words
    assert straddling.is_decided
    assert not grouped.is_decided


def test_too_few_examples_are_refused_with_what_is_missing() -> None:
    few = made_up(30)
    labels = np.zeros((30, 3), dtype=bool)
    labels[:9, 0] = True
    labels[:25, 1] = True
    labels[:15, 2] = True
    groups = np.arange(30)
    groups[:15] %= 3
    with pytest.raises(DataError) as refused:
        fit_words(Examples(**{**vars(few), "words": ("nine", "most", "albums"), "labels": labels, "groups": groups}))
    text = str(refused.value)
    assert "'nine': 9 recordings have it, 10 are needed" in text
    assert "'most': 5 recordings have it not, 10 are needed" in text
    assert "--others" in text
    assert "'albums': the recordings that have it are of 3 albums or songs, 5 are needed" in text
    one = fit_words(Examples(**{**vars(few), "words": ("nine", "word"), "labels": np.c_[labels[:, 0], few.labels]}))
    assert [facts.word for facts in one.words] == ["word"]
    assert [word.word for word in one.refused] == ["nine"]


# A library of made-up recordings.


@pytest.fixture
def library(catalogue: Catalogue, model: Model) -> list[str]:
    """120 recordings; whether one is for the gym lies in the first direction of its embedding."""
    rng = np.random.default_rng(11)
    vectors = unit(rng.normal(size=(120, DIMENSIONS)))
    for n, vector in enumerate(vectors):
        folder = "gym" if 3 * vector[0] + rng.normal() * 0.3 > 0 else "sofa"
        metadata = Metadata(artist=f"artist {n % 30}", album=f"album {n % 30}", moods=(folder,) if n < 80 else ())
        scores = rng.random(4).tolist()
        path = f"/music/{folder}/{n}.flac"
        enter(catalogue, model, path, scores, sha256=sha(path), embedding=vector, metadata=metadata)
    return [track.payload_sha256 for track in search(catalogue, "", sort="path")]


def fit_gym(catalogue: Catalogue, model: Model, name: str = "mine"):
    said = {t.payload_sha256: t.moods for t in search(catalogue, "mood:gym or mood:sofa", model=model)}
    examples = gather(catalogue, model, said)
    fitted = fit_words(examples)
    return write_head(head_folder(name), fitted.facts(name, model, examples), fitted.weights)


def test_albums_songs_and_copies_are_one_group(catalogue: Catalogue, model: Model) -> None:
    rng = np.random.default_rng(0)
    vectors = unit(rng.normal(size=(6, DIMENSIONS)))
    vectors[5] = vectors[0]
    records = [("A", "x", "1"), ("A", "x", "2"), ("A", "y", "3"), ("a", "z", "3"), ("", "y", ""), ("", "", "")]
    said = {}
    for n, (artist, album, title) in enumerate(records):
        metadata = Metadata(artist=artist, album=album, title=title)
        enter(catalogue, model, f"/{n}", [0.5] * 4, embedding=vectors[n], sha256=f"{n}", metadata=metadata)
        said[f"{n}"] = ("w",)
    groups = gather(catalogue, model, said).groups
    assert groups[0] == groups[1] == groups[5]
    assert groups[2] == groups[3]
    assert len(set(groups.tolist())) == 3


def test_others_stand_for_what_a_word_is_not(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    said = {sha256: ("Gym", "gym ".strip()) for sha256 in library[:20]}
    alone = gather(catalogue, model, said)
    assert (alone.words, len(alone.sha256s), alone.others) == (("Gym",), 20, 0)
    with_others = gather(catalogue, model, {**said, "f" * 64: ("gym",)}, others=True)
    assert (len(with_others.sha256s), with_others.others, with_others.unheard) == (120, 100, 1)
    assert with_others.labels[:20].all()
    assert not with_others.labels[20:].any()
    assert set(with_others.by_hash()) == set(library[:20])
    with pytest.raises(DataError, match="none of the files that were named is in the catalogue"):
        gather(catalogue, model, {})
    with pytest.raises(DataError, match="what was named says no word of any file"):
        gather(catalogue, model, {library[0]: ()})
    with pytest.raises(DataError, match="no word was said of any recording"):
        gather(catalogue, model, {"f" * 64: ("gym",)})


def test_without_embeddings_it_is_refused(catalogue: Catalogue, model: Model) -> None:
    enter(catalogue, model, "/a", [0.5] * 4, sha256="a")
    with pytest.raises(DataError, match="no embedding by tiny"):
        gather(catalogue, model, {"a": ("w",)})


def test_applied_words_are_searched_like_any_other(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    head = fit_gym(catalogue, model)
    applied, entered = apply_head(catalogue, head)
    assert (entered, applied.base) == (120, model.sha256)
    assert applied.tags.names == (*head.words, *model.tags)
    assert catalogue.find_model() == applied
    found = search(catalogue, "gym and not sofa and epic>0.2")
    assert found
    right = sum("/gym/" in str(track.path) for track in found)
    assert right / len(found) > 0.7
    for track in found:
        before = search(catalogue, f'path="{track.path}"', model=model)[0]
        assert {tag: track.probabilities[tag] for tag in model.tags} == before.probabilities
    assert apply_head(catalogue, head)[1] == 0


@pytest.mark.parametrize("column", ["probabilities", "embedding"])
def test_words_are_not_put_on_what_is_damaged(
    catalogue: Catalogue, model: Model, library: list[str], column: str
) -> None:
    head = fit_gym(catalogue, model)
    with catalogue.transaction() as connection:
        connection.execute(f"UPDATE analysis SET {column} = x'0000c07f' WHERE payload_id = 7")
    with pytest.raises(CatalogueError, match="is damaged"):
        apply_head(catalogue, head)
    if column == "embedding":
        memory = Memory(catalogue, model, head)
        with pytest.raises(CatalogueError, match="is damaged"):
            memory.recall(Path("/music/gym/6.flac"), 7)


def test_an_own_word_takes_the_place_of_the_models(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    said = {sha256: ("EPIC",) if n % 2 else () for n, sha256 in enumerate(library)}
    examples = gather(catalogue, model, said)
    fitted = fit_words(examples)
    head = write_head(head_folder("mine"), fitted.facts("mine", model, examples), fitted.weights)
    applied, _ = apply_head(catalogue, head)
    assert applied.tags.names == ("EPIC", "calm", "dark", "fast")


def test_new_music_gets_its_words_with_the_next_scan(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    head = fit_gym(catalogue, model)
    apply_head(catalogue, head)
    embedding = unit(np.eye(DIMENSIONS)[0])
    enter(catalogue, model, "/music/new.flac", [0.1] * 4, sha256=sha("new"), embedding=embedding)
    catalogue.enter_model(model.name, model.sha256, model.tags, dict(zip(model.tags, model.thresholds, strict=True)))
    assert catalogue.find_model().base is None

    assert refresh_heads(catalogue, model) == []

    assert catalogue.find_model().name == "mine"
    (track,) = search(catalogue, "path:new")
    assert track.probabilities["gym"] > 0.8
    # Fitted again, the words in the catalogue are brought up to date.
    changed = json.loads((head.folder / HEAD_FILE).read_text())
    changed["words"][0]["threshold"] = 0.123
    (head.folder / HEAD_FILE).write_text(json.dumps(changed))
    assert refresh_heads(catalogue, model) == []
    assert [(known.name, known.base is None) for known in catalogue.models()] == [("mine", False), ("tiny", True)]
    assert catalogue.find_model().thresholds[0] == 0.123


def test_words_whose_head_cannot_be_used_stay_as_they_were(
    catalogue: Catalogue, model: Model, library: list[str]
) -> None:
    head = fit_gym(catalogue, model)
    apply_head(catalogue, head)
    facts = json.loads((head.folder / HEAD_FILE).read_text())
    for content, said in (({**facts, "base_sha256": "f" * 64}, "on what another model hears"), ({}, "cannot load")):
        (head.folder / HEAD_FILE).write_text(json.dumps(content))
        catalogue.enter_model(
            model.name, model.sha256, model.tags, dict(zip(model.tags, model.thresholds, strict=True))
        )
        (problem,) = refresh_heads(catalogue, model)
        assert said in problem
        assert catalogue.find_model().name == "mine"
        assert search(catalogue, "gym")


def test_suggestions_tell_most(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    head = fit_gym(catalogue, model)
    suggestions = suggest(catalogue, model, head, 10)
    assert len({suggestion.track.path for suggestion in suggestions}) == 10
    assert not {suggestion.track.payload_sha256 for suggestion in suggestions} & set(head.config.examples)
    bits = [suggestion.bits for suggestion in suggestions]
    assert bits == sorted(bits, reverse=True)
    assert all(0 < bit < 2 for bit in bits)
    words = dict(suggestions[0].doubts)
    assert set(words) == {"gym", "sofa"}


def test_an_answer_narrows_as_fitting_again_would() -> None:
    """The rank-one step is the inverse of the Hessian with one more recording."""
    examples = made_up(50)
    rows = features(examples.embeddings)
    weights = fit_weights(rows, examples.labels[:, 0], 2.0)
    doubt = _Doubt(rows[:5], rows, weights, 2.0)
    before = doubt.bits()
    doubt.answer(2)
    curvature = hessian(np.concatenate([rows, rows[2:3]]), weights, 2.0)
    np.testing.assert_allclose(doubt._covariance, np.linalg.inv(curvature), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(
        doubt._spread, np.einsum("cf,fg,cg->c", rows[:5], np.linalg.inv(curvature), rows[:5]), rtol=1e-6
    )
    assert doubt.bits()[2] < before[2]


# Sources.


def test_a_playlist_that_we_write_is_read_back(catalogue: Catalogue, model: Model, tmp_path: Path) -> None:
    names = ["plain.mp3", "-dash.mp3", "#hash.mp3", " space.mp3", "new\nline.mp3", os.fsdecode(b"\xff.mp3"), "c:d.mp3"]
    for name in names:
        enter(catalogue, model, f"{tmp_path}/music/{name}", [0.5] * 4)
    tracks = search(catalogue, "", sort="path")
    for absolute in (False, True):
        path = tmp_path / "lists" / "gym.m3u8"
        write_playlist(path, tracks, "x", absolute=absolute)
        read = read_m3u8(path)
        assert [os.path.normpath(name) for name in read] == [str(track.path) for track in tracks]
    (tmp_path / "old.m3u").write_bytes(b"\xef\xbb\xbf#EXTM3U\r\nhttp://x/y.mp3\r\ncaf\xe9.mp3\r\n\r\n")
    assert read_m3u8(tmp_path / "old.m3u") == [tmp_path / os.fsdecode(b"caf\xe9.mp3")]


def test_every_source_is_read(tmp_path: Path) -> None:
    for name in ("Gym/a.mp3", "Gym/deep/b.flac", "Sofa/c.ogg", "top.mp3", "Gym/note.txt"):
        (tmp_path / "m" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "m" / name).write_bytes(b"")
    root = tmp_path / "m"
    assert {(s.path.name, s.words) for s in read_source(str(root))} == {
        ("a.mp3", ("Gym",)),
        ("b.flac", ("Gym",)),
        ("c.ogg", ("Sofa",)),
    }
    assert {s.words for s in read_source(f"work out={root / 'Gym'}")} == {("work out",)}
    table = tmp_path / "l.csv"
    table.write_text("words,path,more\ngym; loud ,m/a.mp3,x\n,m/b.mp3,\n?,m/c.mp3,\n", encoding="utf-8")
    assert read_source(str(table)) == [
        Statement(tmp_path / "m/a.mp3", ("gym", "loud")),
        Statement(tmp_path / "m/b.mp3", ()),
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.csv", "a,b\n1,2\n", "lacks the columns path and words"),
        ("l.csv", "path,words\nx\n", "line 2"),
        ("l.csv", "path,words\nx,a\x07b\n", "is no word"),
        ("l.csv", f"path,words\nx,{'w' * 101}\n", "is no word"),
        ("l.csv", "path,words\n", "names no music"),
        ("l.csv", "path,words\nx,a;?\n", "stands beside words"),
        ("l.m3u8", "#EXTM3U\nhttp://a/b.mp3\n", "names no music.*; what it names on the network is left out"),
        ("l.txt", "x", "cannot take words from"),
    ],
)
def test_a_source_that_cannot_be_used_is_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_source(str(tmp_path / name))
    with pytest.raises(DataError, match="there is no"):
        read_source(str(tmp_path / "nowhere"))


def test_a_folder_of_music_alone_tells_how_to_name_it(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").touch()
    with pytest.raises(DataError, match=r"For one word for all of it: WORD='.*'"):
        read_source(str(tmp_path))


@pytest.mark.parametrize("source", ["epic=", "", "="])
def test_an_empty_place_is_not_the_working_folder(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp3").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=f"^'{source}' names no place"):
        read_source(source)


@given(st.binary(max_size=200), st.sampled_from(["a.csv", "a.m3u8"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    try:
        statements = read_source(str(path))
    except MoodbookError:
        return
    assert statements


def test_every_copy_of_the_music_has_its_say(catalogue: Catalogue, tagger: Tagger, tmp_path: Path) -> None:
    root = Path(os.path.realpath(tmp_path)) / "music"
    for name, words in (("a", ["gym"]), ("b", ["sofa"]), ("c", [])):
        song = mutagen.flac.FLAC(cut("lava", root / f"{name}.flac", start=0.0))
        song.update({"mood": words} if words else {})
        song.save()
    # A copy into which Moodbook wrote the very word that the owner wrote into another one.
    plan = build_plan([Proposal(root / "c.flac", ("gym",), {"dark": 0.9}, "tiny", "0" * 64)])
    with open_journal(journal_folder(), "write") as journal:
        list(apply_tasks(plan.tasks, journal))
    scan(catalogue, [root], tagger)

    own = [Statement(root / "a.flac", ("gym",)), Statement(root / "b.flac", ("sofa",))]
    assert read_moods(catalogue, journal_folder()) == MoodsFound(own, 1, [])
    # Under a name that was never written, whose copy it was cannot be told: it has no word of the owner's for sure.
    (root / "c.flac").rename(root / "d.flac")
    scan(catalogue, [root], tagger)
    assert read_moods(catalogue, journal_folder()) == MoodsFound(own, 1, [])


def test_words_are_said_anew_of_what_was_heard_anew(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    head = fit_gym(catalogue, model)
    apply_head(catalogue, head)
    own = catalogue.find_model("mine")
    with catalogue.transaction() as connection:
        connection.execute("UPDATE analysis SET precision = 'bf16' WHERE model_id = ? AND payload_id < 4", (model.id,))
        connection.execute(
            "UPDATE analysis SET probabilities = zeroblob(length(probabilities)) WHERE model_id = ?", (own.id,)
        )
    assert len(catalogue.heard_payloads(own)) == len(library)

    assert refresh_heads(catalogue, model) == []

    with catalogue.reading() as connection:
        rows = connection.execute(
            "SELECT payload_id, precision, probabilities = zeroblob(length(probabilities)) FROM analysis"
            " WHERE model_id = ?",
            (own.id,),
        ).fetchall()
    assert {(payload < 4, precision, stale) for payload, precision, stale in rows} == {
        (True, "bf16", 0),
        (False, "f32", 1),
    }
    assert len(rows) == len(library)


def test_moodbooks_words_stay_moodbooks_in_copies_and_under_other_names(
    catalogue: Catalogue, tagger: Tagger, tmp_path: Path
) -> None:
    root = Path(os.path.realpath(tmp_path)) / "music"
    first = cut("lava", root / "a.flac", start=0.0)

    def write(path: Path, word: str, journal: Path | None = None) -> None:
        plan = build_plan([Proposal(path, (word,), {"dark": 0.9}, "tiny", "0" * 64)], "merge")
        with open_journal(journal or journal_folder(), "write") as run:
            assert [written.status for written in apply_tasks(plan.tasks, run)] == ["written"]

    write(first, "dark")
    shutil.copy2(first, root / "copy-from-before-the-undoing.flac")
    run = choose_run(journal_folder(), None)
    with open_journal(journal_folder(), "undo", run.name) as journal:
        list(apply_tasks(plan_undo(run).tasks, journal))
    write(first, "gloomy")
    second = root / "b.flac"
    shutil.copy2(first, second)
    write(second, "intense")
    for old, new in (("a", "x"), ("b", "a"), ("x", "b")):
        (root / f"{old}.flac").rename(root / f"{new}.flac")
    scan(catalogue, [root], tagger)

    assert read_moods(catalogue, journal_folder()) == MoodsFound([], 3, [])
    # What another journal tells of cannot be told from the owner's by this one.
    write(second, "epic", tmp_path / "another journal")
    scan(catalogue, [root], tagger)
    assert read_moods(catalogue, tmp_path / "another journal").statements == []


def test_words_that_were_undone_are_the_owners_when_they_come_back(
    catalogue: Catalogue, tagger: Tagger, tmp_path: Path
) -> None:
    path = cut("lava", Path(os.path.realpath(tmp_path)) / "music" / "a.flac", start=0.0)

    def write(word: str) -> None:
        plan = build_plan([Proposal(path, (word,), {"dark": 0.9}, "tiny", "0" * 64)], "merge")
        with open_journal(journal_folder(), "write") as journal:
            assert [written.status for written in apply_tasks(plan.tasks, journal)] == ["written"]

    write("gym")
    run = choose_run(journal_folder(), None)
    with open_journal(journal_folder(), "undo", run.name) as journal:
        assert [written.status for written in apply_tasks(plan_undo(run).tasks, journal)] == ["written"]
    song = mutagen.flac.FLAC(path)
    song["mood"] = ["gym"]
    song.save()
    write("extra")
    scan(catalogue, [path.parent], tagger)

    assert read_moods(catalogue, journal_folder()) == MoodsFound([Statement(path, ("gym",))], 0, [])


def test_moods_that_moodbook_wrote_teach_nothing(catalogue: Catalogue, tagger: Tagger, tmp_path: Path) -> None:
    root = Path(os.path.realpath(tmp_path)) / "music"
    moods = {"empty": [], "mixed": ["gym; sofa", "Dark"], "own": ["gym"], "wordless": ["; ?"]}
    for start, (name, words) in enumerate(moods.items()):
        song = mutagen.flac.FLAC(cut("lava", root / f"{name}.flac", start=float(start)))
        song.update({"mood": words} if words else {})
        song.save()
    plan = build_plan(
        [
            Proposal(root / f"{name}.flac", words, dict.fromkeys(("dark", "epic"), 0.9), "tiny", "0" * 64)
            for name, words in {"empty": ("epic",), "mixed": ("dark", "gloomy", "sofa")}.items()
        ],
        "merge",
    )
    with open_journal(journal_folder(), "write") as journal:
        assert [written.status for written in apply_tasks(plan.tasks, journal)] == ["written", "written"]
    scan(catalogue, [root], tagger)

    # "Dark" and "sofa" stood there before, and "gloomy" is what `write --words` made of a word of the model.
    own = [Statement(root / "mixed.flac", ("gym", "sofa", "Dark")), Statement(root / "own.flac", ("gym",))]
    assert read_moods(catalogue, journal_folder()) == MoodsFound(own, 1, [])
    unknown = read_moods(catalogue, tmp_path / "no journal")
    assert (unknown.statements, unknown.written) == (own[1:], 0)
    assert [(failure.path.stem, "does not tell which words" in failure.reason) for failure in unknown.unclear] == [
        ("empty", True),
        ("mixed", True),
    ]
    # A damaged journal may lack a word; a file that cannot be read may hold scores.
    (journal_folder() / "20260101-000000-000000-000000.jsonl").write_text("[]")
    (root / "own.flac").write_bytes(b"")
    nothing = read_moods(catalogue, journal_folder())
    assert (nothing.statements, [failure.path.stem for failure in nothing.unclear]) == ([], ["empty", "mixed", "own"])
    done = call("personal", "fit", "--moods")
    assert done.exit_code == 2
    assert "left out, for nobody can tell whose moods they have: 3 files" in done.stderr
    assert "no mood of your own stands in your files" in done.stderr
    done = call("personal", "fit", "--moods", "--journal", str(tmp_path / "no journal"))
    assert (done.exit_code, "does not tell which words" in done.stderr) == (2, True)
    done = call("personal", "fit", "x.m3u8", "--journal", str(tmp_path))
    assert (done.exit_code, "it wants --moods" in done.stderr) == (2, True)
    (tmp_path / "gym.m3u8").write_text("nothing.mp3\n")
    done = call("personal", "fit", str(tmp_path / "gym.m3u8"))
    assert (done.exit_code, "nothing.mp3: there is no such file" in done.stderr) == (2, True)


def test_unknown_files_are_named(catalogue: Catalogue, model: Model, tmp_path: Path) -> None:
    (tmp_path / "x.mp3").write_bytes(b"\xff\xfb" * 100)
    said, unknown = resolve(
        catalogue, [Statement(tmp_path / "x.mp3", ("w",)), Statement(tmp_path / "gone.mp3", ("w",))]
    )
    assert said == {}
    assert "not in the catalogue" in unknown[0].reason
    assert len(unknown) == 2


def known_by_name(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> list[Track]:
    """Let names alone tell which recording it is: the files of this library are not there."""
    tracks = search(catalogue, "", sort="path")
    rows = {track.path: track.payload_id for track in tracks}
    monkeypatch.setattr("moodbook.library.personal.examples.find_payload", lambda catalogue, path: rows.get(path))
    return tracks


def test_words_and_none_for_one_recording_contradict(
    catalogue: Catalogue, model: Model, library: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = known_by_name(catalogue, monkeypatch)
    first = tracks[0]
    twice = [Statement(first.path, ("x",)), Statement(first.path, ("y",)), Statement(tracks[1].path, ())]
    assert resolve(catalogue, twice)[0] == {first.payload_sha256: ("x", "y"), tracks[1].payload_sha256: ()}
    for statements in ([*twice, Statement(first.path, ())], [Statement(first.path, ()), *twice]):
        with pytest.raises(DataError, match=r"of 1 recordings .*has x, y in one place, .* nothing in another"):
            resolve(catalogue, statements)
    many = [Statement(track.path, words) for track in tracks[:7] for words in (("x",), ())]
    with pytest.raises(DataError, match=r"of 7 recordings .*; and 2 more\. Take one of the two away"):
        resolve(catalogue, many)


# The head on disk.


def test_a_head_comes_back_as_it_was(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    head = fit_gym(catalogue, model)
    again = read_head("mine")
    assert again.config == head.config
    assert again.sha256 == head.sha256 == fit_gym(catalogue, model).sha256
    np.testing.assert_array_equal(again.weights, head.weights)
    assert sorted(path.name for path in head.folder.iterdir()) == [HEAD_FILE, WEIGHTS_FILE]
    embedding = np.ones(DIMENSIONS, np.float32)
    with pytest.raises(ModelError, match="stand on embeddings of 12 numbers, these have 13"):
        head.probabilities(np.ones((2, 13), np.float32))
    assert any(strength.decided for strength in head.strengths(embedding, None))
    assert not any(strength.decided for strength in head.strengths(embedding, 0.2))


def test_a_damaged_head_is_refused(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    folder = fit_gym(catalogue, model).folder
    rng = np.random.default_rng(0)
    for name in (HEAD_FILE, WEIGHTS_FILE):
        whole = (folder / name).read_bytes()
        for data in (b"", whole[:-1], b"\x80\x04pickle", whole + b"x", bytes(rng.integers(0, 256, 500, np.uint8))):
            if name == HEAD_FILE and data == whole[:-1]:
                continue  # The last byte is a newline.
            (folder / name).write_bytes(data)
            with pytest.raises(ModelError, match="cannot load the words"):
                read_head("mine")
        (folder / name).write_bytes(whole)
    facts = json.loads((folder / HEAD_FILE).read_text())
    for key, value in (("dimensions", 13), ("format_version", 2), ("words", []), ("more", 1), ("dimensions", 1e9)):
        (folder / HEAD_FILE).write_text(json.dumps({**facts, key: value}))
        with pytest.raises(ModelError):
            read_head("mine")
    (folder / HEAD_FILE).unlink()
    with pytest.raises(ModelError, match="there are no words of your own called 'mine'"):
        read_head("mine")


def test_a_bare_name_is_never_a_folder_of_the_working_folder(
    catalogue: Catalogue, model: Model, library: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = fit_gym(catalogue, model).folder
    here = tmp_path / "here"
    shutil.copytree(own, here / "mine")
    shutil.copytree(own, here / "foreign")
    monkeypatch.chdir(here)
    assert read_head("mine").folder == own
    with pytest.raises(ModelError, match="there are no words of your own called 'foreign'"):
        read_head("foreign")
    for named in (f".{os.sep}mine", str(here / "mine"), Path("mine"), Path("foreign")):
        assert read_head(named).folder.resolve().parent == here


def test_a_folder_of_something_else_is_not_replaced(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    folder = head_folder("mine")
    folder.mkdir(parents=True)
    (folder / "photo.jpg").write_bytes(b"x")
    with pytest.raises(ModelError, match="something else than words of your own"):
        fit_gym(catalogue, model)
    assert (folder / "photo.jpg").exists()
    for name in ("..", "a/b", "", "a\0"):
        with pytest.raises(DataError, match="cannot be a name"):
            head_folder(name)


# The verbs.


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def test_the_verbs_from_labels_to_search(
    catalogue: Catalogue, model: Model, library: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = known_by_name(catalogue, monkeypatch)
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "words"])
        rows.writerows([track.path, track.path.parent.name] for track in tracks[::2])
        rows.writerow(["/music/unknown.flac", "gym"])

    fitted = call("personal", "fit", tmp_path / "labels.csv")

    assert fitted.exit_code == 0, fitted.output
    records = [json.loads(line) for line in fitted.stdout.splitlines()]
    assert {record["word"] for record in records} == {"gym", "sofa"}
    assert all(0.5 < record["roc_auc"]["low"] < record["roc_auc"]["value"] <= 1 for record in records)
    assert "1 example left out" in fitted.stderr
    assert fitted.stderr.endswith("to use these words: moodbook personal apply\n")
    assert call("personal", "show").stdout == fitted.stdout
    applied = call("personal", "apply")
    assert applied.stderr.endswith(" now in 120 recordings\n")
    found = call("search", "gym", "--limit", 5)
    assert json.loads(found.stdout.splitlines()[0])["model"] == "mine"
    assert json.loads(call("search", "epic>0", "--model", "tiny", "-n", 1).stdout)["model"] == "tiny"
    asked = call("personal", "suggest", "-n", 4, "-o", tmp_path / "ask.csv")
    assert asked.exit_code == 0, asked.output
    text = (tmp_path / "ask.csv").read_text().splitlines()
    assert text[0] == "path,words,in doubt"
    assert len(text) == 5
    unanswered = call("personal", "fit", tmp_path / "ask.csv", "--add")
    assert (unanswered.exit_code, "names no music" in unanswered.stderr) == (2, True)
    (tmp_path / "ask.csv").write_text("\n".join(text).replace(",?,", ",gym,"))
    assert call("personal", "fit", tmp_path / "ask.csv", "--add").exit_code == 0
    assert len(read_head("mine").config.examples) == 64
    similar = call("similar", tracks[0].path.name, "--limit", 2)
    assert similar.exit_code in (0, 2)


def test_fitting_anew_keeps_what_it_drops_and_brings_search_up_to_date(
    catalogue: Catalogue, model: Model, library: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks = known_by_name(catalogue, monkeypatch)

    def fit(name: str, chosen: slice, words: dict[str, str], *options: str) -> Result:
        lines = [f"{track.path},{words.get(track.path.parent.name, '')}" for track in tracks[chosen]]
        (tmp_path / name).write_text("\n".join(["path,words", *lines]))
        done = call("personal", "fit", tmp_path / name, *options)
        assert done.exit_code == 0, done.output
        return done

    fit("all.csv", slice(None, None, 1), {"gym": "gym", "sofa": "sofa"})
    assert call("personal", "apply").exit_code == 0
    assert "dropped" not in fit("all.csv", slice(None, None, 1), {"gym": "gym", "sofa": "sofa"}).stderr
    before = read_head("mine")
    done = fit("half.csv", slice(None, None, 2), {"gym": "pump"})
    assert (
        "moodbook: of the last time 60 examples dropped; 60 examples with other words now; no longer learned: "
        "gym, sofa; all that was is kept as mine.before-1. To have both, fit with --add\n"
    ) in done.stderr
    kept = read_head("mine.before-1")
    assert kept.config.model_copy(update={"name": "mine"}) == before.config
    np.testing.assert_array_equal(kept.weights, before.weights)
    # The words stood in the catalogue: the new ones do, without another command.
    assert "scores for pump now in 120 recordings" in done.stderr
    assert [known.name for known in catalogue.models()] == ["mine", "tiny"]
    assert call("search", "pump").exit_code == 0
    # A head that is damaged is not lost either.
    (head_folder("mine") / WEIGHTS_FILE).write_bytes(b"")
    assert (
        "what is left of them is kept as mine.before-2" in fit("half.csv", slice(None, None, 2), {"gym": "pump"}).stderr
    )
    assert (head_folder("mine.before-2") / HEAD_FILE).exists()

    forgotten = call("personal", "forget", "mine")
    assert forgotten.stderr == "moodbook: the words mine are forgotten; tiny is used now\n"
    assert [known.name for known in catalogue.models()] == ["tiny"]
    again = call("personal", "forget", "mine")
    assert (again.exit_code, "there are: none" in again.stderr) == (2, True)
    assert call("personal", "apply").exit_code == 0


@pytest.fixture
def fit_list(
    catalogue: Catalogue, model: Model, library: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Fit a list of the library's files, in which the folders have these words; the files need not be there."""
    tracks = known_by_name(catalogue, monkeypatch)

    def fit(chosen: slice, words: dict[str, str], *options: str) -> Result:
        lines = [f"{track.path},{words.get(track.path.parent.name, '')}" for track in tracks[chosen]]
        (tmp_path / "list.csv").write_text("\n".join(["path,words", *lines]))
        return call("personal", "fit", tmp_path / "list.csv", *options)

    return fit


def test_other_answers_for_the_same_recordings_lose_none_of_the_old(fit_list: Callable[..., Result]) -> None:
    everything = slice(None)
    assert fit_list(everything, {"gym": "gym", "sofa": "sofa"}).exit_code == 0
    before = read_head("mine").config.examples
    # The same in another spelling, and a word that nobody was asked for: nothing is lost.
    same = fit_list(everything, {"gym": "GYM;new", "sofa": "sofa"})
    assert (same.exit_code, "before-" in same.stderr) == (0, False)
    other = fit_list(everything, {"gym": "sofa", "sofa": "gym"})
    said = "moodbook: of the last time 120 examples with other words now; no longer learned: new; "
    assert said + "all that was is kept as mine.before-1\n" in other.stderr
    kept = read_head("mine.before-1").config.examples
    assert {sha256: {word.lower() for word in words} - {"new"} for sha256, words in kept.items()} == {
        sha256: set(words) for sha256, words in before.items()
    }
    # A word taken back, or given to what was said to have none, is another answer too; nobody is told what he did.
    added = fit_list(slice(0, 10), {}, "--add")
    assert "10 examples with other words now; all that was is kept as mine.before-2\n" in added.stderr
    again = fit_list(slice(0, 10), {"gym": "gym", "sofa": "gym"}, "--add")
    assert "10 examples with other words now; all that was is kept as mine.before-3\n" in again.stderr


def test_the_others_of_the_last_time_go_on_with_add(fit_list: Callable[..., Result], tmp_path: Path) -> None:
    first = fit_list(slice(0, 40), {"gym": "gym"}, "--others")  # By path: all of them are of the gym.
    assert first.exit_code == 0, first.output
    assert call("personal", "suggest", "-n", 4, "-o", tmp_path / "ask.csv").exit_code == 0
    questions = (tmp_path / "ask.csv").read_text()
    (tmp_path / "ask.csv").write_text(questions.replace(",?,", ",gym,"))
    added = call("personal", "fit", tmp_path / "ask.csv", "--add")
    assert added.exit_code == 0, added.output
    assert "--others was given the last time, so it goes on" in added.stderr
    config = read_head("mine").config
    assert (config.with_others, [(facts.having, facts.lacking) for facts in config.words]) == (True, [(44, 76)])
    # Anew, it is asked for anew.
    assert "Give other words too, or --others" in fit_list(slice(0, 40), {"gym": "gym"}).stderr


def test_to_apply_again_says_that_nothing_changed(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    listed = ", ".join(fit_gym(catalogue, model).words)
    assert call("personal", "apply").stderr == f"moodbook: scores for {listed} now in 120 recordings\n"
    nothing = f"moodbook: nothing changed: 120 recordings with scores for {listed} already\n"
    assert call("personal", "apply").stderr == nothing
    embedding = unit(np.eye(DIMENSIONS)[0])
    enter(catalogue, model, "/music/new.flac", [0.1] * 4, sha256=sha("new"), embedding=embedding)
    more = call("personal", "apply").stderr
    assert more == f"moodbook: scores for {listed} now in 121 recordings (1 new)\n"
    fit_gym(catalogue, model, "theirs")
    assert call("personal", "apply", "theirs").exit_code == 0
    assert call("personal", "apply").stderr.endswith("already in 121 recordings; used from now on\n")
    assert call("personal", "apply").stderr.startswith("moodbook: nothing changed: 121 ")


def test_who_names_own_words_where_a_model_is_wanted_is_told_so(
    catalogue: Catalogue, model: Model, library: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(fit_gym(catalogue, model).folder, tmp_path / "here" / "theirs")
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here" / "a.flac").touch()
    elsewhere = f".{os.sep}theirs"
    for named, shown in (("mine", "mine"), (elsewhere, elsewhere), ("theirs", elsewhere)):
        for verb in (("tag", "a.flac", "--model", named), ("scan", ".", "--model", named), ("info", named)):
            refused = call(*verb)
            assert refused.exit_code == 2
            assert f"'{shown}' are words of your own and no model" in refused.stderr
            for way in (f"personal show {shown};", f"personal apply {shown};", f"write FOLDER --model {shown}\n"):
                assert f"moodbook {way}" in refused.stderr
    assert "there is no model 'nobody'" in call("tag", "a.flac", "--model", "nobody").stderr


def test_own_words_are_written_into_files(
    catalogue: Catalogue, model: Model, library: list[str], tree: Callable[[dict[str, str]], Path], tmp_path: Path
) -> None:
    head = fit_gym(catalogue, model)
    root = tree({"a.flac": "lava", "b.flac": "taiko"})
    vector = np.eye(DIMENSIONS)[0]
    for path, sign in zip(sorted(root.iterdir()), (1, -1), strict=True):
        enter(catalogue, model, str(path), [0.9] * 4, sha256=music_hash(path), embedding=unit(sign * vector))

    done = call("write", root, "--model", "mine", "--yes", "--journal", tmp_path / "journal")

    # The files are known by their music alone; nothing was applied to the catalogue, and no model was loaded.
    assert done.stderr.startswith("moodbook: the catalogue knew 2 files, 0 listened to\n")
    written = {Path(record["path"]).name: record["after"] for record in map(json.loads, done.stdout.splitlines())}
    assert written == {"a.flac": ["gym"], "b.flac": ["sofa"]}
    (text,) = read_fields(root / "a.flac")["MOODBOOK_SCORES"]
    scores = json.loads(text)
    assert (scores["model"], scores["sha256"], set(scores["scores"])) == ("mine", head.sha256, {"gym", "sofa"})
    # What the catalogue does not know would have to be heard by the very model, which is not at hand.
    cut("rlyeh", root / "new.flac")
    unknown = call("write", root, "--model", "mine", "--overwrite")
    assert unknown.exit_code == 2
    assert "stand on the model tiny, which is not at hand" in unknown.stderr


def test_the_table_says_what_is_not_proven(catalogue: Catalogue, model: Model, library: list[str]) -> None:
    from rich.console import Console

    from moodbook.cli.personal import render

    head = fit_gym(catalogue, model)
    facts = head.config.model_copy(
        update={"words": (head.config.words[0], head.config.words[1].model_copy(update={"threshold": NEVER}))}
    )
    facts = facts.model_copy(
        update={"words": (*facts.words, facts.words[0].model_copy(update={"word": "melancholic"}))}
    )
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(render(type(head)(head.folder, facts, head.weights, head.sha256)))
    lines = console.export_text().splitlines()
    assert lines[0].split() == ["word", "with", "without", "tells", "apart", "right", "found"]
    assert [line.split()[1] == "?" for line in lines[1:3]] == [False, True]
    assert lines[3].split()[0] == "melancholic"
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit",), "name playlists, folders or CSV files"),
        (("fit", "nowhere.m3u8"), "there is no 'nowhere.m3u8'"),
        (("fit", "--moods", "--name", "open"), "is the name of a model"),
        (("fit", "--moods", "--name", "../x"), "cannot be a name"),
        (("show", "nobody"), "no words of your own called 'nobody'"),
        (("apply", "nobody"), "no words of your own called 'nobody'"),
        (("suggest",), "no words of your own called 'mine'"),
    ],
)
def test_what_cannot_be_done_exits_with_2(catalogue: Catalogue, arguments: tuple[str, ...], message: str) -> None:
    done = call("personal", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.replace("│", " ").split())
