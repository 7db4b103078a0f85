"""`nas explain` and `nas rank --pareto --svg`: tables, one JSON document, one HTML file that asks for nothing."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from command import done, python, refused
from learnt import learnt_study
from searched import Searched

from nas.explaining.evidence import read_evidence
from nas.report.page import SECTIONS
from studies import StudyStore

HOSTILE = "</title><script>alert('x')</script> & \"<img src=http://evil.example/x>"


@pytest.fixture(scope="module")
def storage() -> Iterator[str]:
    """Two studies, in memory where there is a folder of it: they are some hundred commits."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="nas-test-", dir=memory) as folder:
        url = f"sqlite:///{folder}/nas.db"
        learnt_study(url, HOSTILE)
        learnt_study(url, seed=1)
        yield url


@pytest.fixture(scope="module")
def page(storage: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("page") / "a report.html"
    answer = done("explain", "--storage", storage, "--study", HOSTILE, "--html", file)
    assert answer.out == ""
    assert "a report.html" in answer.err
    return file


class Reader(HTMLParser):
    """What a page holds: elements with their attributes, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: dict[str, list[str]] = {}
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.words.setdefault(self.open[-1], []).append(data)


def test_the_tables_say_what_decided(storage: str) -> None:
    answer = done("explain", "--storage", storage)
    assert "study 'learnt'" in answer.err
    assert "held to max-macs 2M" in answer.err
    assert "14 trials with a score are few" in answer.err
    lines = [line.split() for line in answer.out.splitlines()]
    assert ["3", "10"] in [line[:2] for line in lines]
    first = lines[lines.index(["choice", "importance", "by", "chance", "trials"]) + 1]
    assert first[0] == "stage1/family"
    assert {"jacov", "zen", "params", "macs"} <= {line[0] for line in lines if line}


def test_one_document_says_the_same(storage: str) -> None:
    found = done("explain", "--storage", storage, "--json").document
    assert found["study"] == "learnt"
    assert (found["scored"], found["rungs"], found["checkpoints"]) == (14, True, [3, 10])
    assert found["limits"] == {"macs": 2_000_000}
    assert found["importances"][0]["choice"] == "stage1/family"
    (rung,) = found["early_against_late"]
    assert rung["correlation"]["trials"] == 7
    assert rung["correlation"]["low"] > 0
    scores = {each["name"]: each["overall"] for each in found["measures_against_results"]}
    assert scores["jacov"]["value"] == pytest.approx(1)
    assert scores["zen"]["low"] < 0 < scores["zen"]["high"]
    family = next(each for each in found["choices"] if each["name"] == "stage1/family")
    best, worst = family["effects"]
    assert (best["option"], worst["option"]) == ("residual", "conv")
    assert best["difference"] - worst["difference"] == pytest.approx(0.12, abs=0.02)
    assert len(found["best"]) == 3


def test_scores_within_a_schedule_are_not_compared(storage: str) -> None:
    """The last trial ended in one, at a score that is as good as chance: it is judged by its rung."""
    with StudyStore(storage) as store:
        trials = read_evidence(store, store.study("learnt")).trials
    assert {frozenset(trial.scores) for trial in trials} == {frozenset({3}), frozenset({3, 10})}
    alike = [trial.quality for trial in trials if trial.choices["stage1/family"] == trials[-1].choices["stage1/family"]]
    assert max(alike) - min(alike) < 0.1


def test_the_report_asks_for_nothing_and_runs_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    reader = Reader(text)
    assert reader.open == []
    names = {name for name, _ in reader.elements}
    assert not names & {"script", "link", "img", "iframe", "object", "embed", "base", "form", "a", "use", "image"}
    for name, attributes in reader.elements:
        outside = {key: value for key, value in attributes.items() if "//" in value and key != "xmlns"}
        assert outside == {}, name
        assert not any(key.startswith("on") or key in ("src", "href", "xlink:href", "style") for key in attributes)
    assert not re.search(r"@import|url\(", "".join(reader.words["style"]))
    policies = [each["content"] for name, each in reader.elements if each.get("http-equiv")]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_a_hostile_name_is_text(page: Path) -> None:
    reader = Reader(page.read_text(encoding="utf-8"))
    assert "".join(reader.words["h1"]) == f"Study {HOSTILE}"
    assert reader.words["title"][0] == f"Study {HOSTILE}"


def test_every_picture_has_a_title_axes_and_words_for_those_who_do_not_see_it(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    pictures = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]
    space = "{http://www.w3.org/2000/svg}"
    titles = [picture.findtext(f"{space}title") for picture in pictures]
    assert titles[:6] == [
        "Accuracy against multiply-adds (MACs)",
        "Accuracy against parameters",
        "The best so far, over trials",
        "The best so far, over training time",
        "What mattered",
        "Block families by stage",
    ]
    assert titles[6] == "After epoch 3 and after epoch 10"
    assert len(titles) == 8  # and the winner's drawing
    for picture in pictures:
        assert picture.get("role") == "img"
        assert len(picture.findtext(f"{space}desc") or "") > 20
    words = [element.text for element in pictures[0].iter(f"{space}text")]
    assert {"validation accuracy", "multiply-adds (MACs) for one image", "max-macs 2M"} <= set(words)
    assert "max-macs 2M" not in [element.text for element in pictures[1].iter(f"{space}text")]
    dots = [element.get("class") for element in pictures[0].iter(f"{space}circle")]
    assert dots.count("early") >= 7  # and one in the legend


def test_the_report_has_all_its_sections(page: Path) -> None:
    reader = Reader(page.read_text(encoding="utf-8"))
    assert len(reader.words["h2"]) == len(SECTIONS) - 1  # the facts stand under the title
    assert "max-macs 2M" in reader.words["td"]


def test_the_front_names_its_limits_and_is_drawn(storage: str, tmp_path: Path) -> None:
    answer = done("rank", "--storage", storage, "--pareto", "macs", "--svg", "front.svg")
    assert "held to max-macs 2M" in answer.err
    assert "COMPLETE" in answer.out
    picture = ElementTree.parse(tmp_path / "front.svg")
    front = [each for each in picture.iter() if each.get("class") == "front-dot" and each.tag.endswith("circle")]
    rows = done("rank", "--storage", storage, "--pareto", "macs", "--json").document
    assert rows["limits"] == {"macs": 2_000_000}
    assert len(front) == len(rows["trials"]) + 1  # and one in the legend
    assert "held to" not in done("rank", "--storage", storage).err


def test_a_front_without_limits_or_without_scores(searched: Searched, tmp_path: Path) -> None:
    answer = done("rank", "--storage", searched.storage, "--pareto", "params", "--svg", "front.svg")
    assert "held to" not in answer.err
    assert 'class="limit"' not in (tmp_path / "front.svg").read_text()
    with StudyStore("sqlite:///empty.db") as store:
        store.open_study("empty", {})
    message = refused("rank", "--storage", "sqlite:///empty.db", "--pareto", "params", "--svg", "none.svg")
    assert "no trial with a score" in message
    assert not (tmp_path / "none.svg").exists()


@pytest.mark.parametrize(
    ("arguments", "loaded"), [(("rank", "--pareto", "macs", "--svg", "x.svg"), "[]\n"), (("explain",), "['optuna']\n")]
)
def test_torch_is_loaded_for_the_winners_drawing_alone(
    arguments: tuple[str, ...], loaded: str, storage: str, tmp_path: Path
) -> None:
    code = """
import sys
from click.testing import CliRunner
from nas.cli import main
result = CliRunner().invoke(main, sys.argv[1:])
assert result.exit_code == 0, result.output
print(sorted({name.split(".")[0] for name in sys.modules} & {"torch", "optuna", "torchvision"}))
"""
    answer = python(code, *arguments, cwd=tmp_path, env={"NAS_STORAGE": storage})
    assert (answer.code, answer.out) == (0, loaded), answer.err


def test_too_few_trials_are_refused_with_their_number(searched: Searched, tmp_path: Path) -> None:
    message = refused("explain", "--storage", searched.storage, "--html", "x.html")
    assert "only 3 trials have a score" in message
    assert "--budget" in message
    assert not (tmp_path / "x.html").exists()
    with StudyStore("sqlite:///empty.db") as store:
        store.open_study("empty", {})
    assert "no trial has a score" in refused("explain", "--storage", "sqlite:///empty.db")


def test_an_unknown_study_and_files_that_cannot_be_written_are_refused(storage: str, tmp_path: Path) -> None:
    assert "no study 'nobody'" in refused("explain", "--storage", storage, "--study", "nobody")
    refused("explain", "--storage", "sqlite:///absent.db")
    (tmp_path / "mine.html").write_text("mine")
    for file in ("mine.html", tmp_path):
        assert "exists" in refused("explain", "--storage", storage, "--html", file)
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert "absent" in refused("explain", "--storage", storage, "--html", "absent/x.html")
    assert "mine.html" in refused("explain", "--storage", storage, "--html", "mine.html/x.html")
    refused("explain", "--storage", storage, "--html", "x" * 300)
    refused("explain", "--storage", storage, "--html", "")
    assert "--pareto" in refused("rank", "--storage", storage, "--svg", "x.svg")
    refused("rank", "--storage", storage, "--pareto", "macs", "--svg", tmp_path / "absent" / "x.svg")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.html"]


def test_a_study_whose_optuna_half_was_deleted_is_explained_still(storage: str, tmp_path: Path) -> None:
    import optuna

    shutil.copy(storage.removeprefix("sqlite:///"), tmp_path / "half.db")
    url = f"sqlite:///{tmp_path}/half.db"
    optuna.delete_study(study_name="learnt", storage=url)
    found = done("explain", "--storage", url, "--study", "learnt", "--json").document
    assert found["limits"] == {}
    assert found["importances"][0]["choice"] == "stage1/family"
    assert [each["name"] for each in found["measures_against_results"]] == ["params", "macs", "activations"]
