"""Bad input ends in one or two plain lines with exit code 2 (1 when a run failed), and nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from command import done, in_process, python, refused, typed
from pictures import make_folder, make_npz
from searched import SEARCH, Searched

from nas.training.datasets import cifar

SMALL = ("--budget", "1", "--epochs", "1", "--limit-train", "100")
NAMES = (
    "it's",
    'a "b"',
    "x;--",
    "../up",
    "a/b",
    "emoji 🚀",
    "per%cent_",
    "-dash",
    "{0}",
    "ünï",
    "a" * 150,
    "'; DROP TABLE nas_studies;--",
)


def search(*arguments: str | Path, dataset: str | Path = "digits", code: int = 2) -> str:
    return refused("search", "--dataset", dataset, *SMALL, *arguments, code=code)


# The command line itself


@pytest.mark.parametrize("budget", ["0", "-1", "many", "1.5", "", "9" * 30])
def test_a_budget_that_is_no_count(budget: str) -> None:
    assert "budget" in refused("search", "--dataset", "digits", "--budget", budget)
    assert not Path("nas.db").exists()


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("--time", "soon", "duration"),
        ("--time", "0", "duration"),
        ("--time", "-5m", "duration"),
        ("--max-params", "few", "count"),
        ("--max-params", "0", "count"),
        ("--max-macs", "-1M", "count"),
        ("--epochs", "0", "epochs"),
        ("--limit-train", "1", "limit-train"),
        ("--batch-size", "1", "batch-size"),
        ("--seed", "-1", "seed"),
        ("--seed", str(2**63), "seed"),
        ("--resolution", "0", "resolution"),
        ("--device", "gpu", "device"),
        ("--device", "cuda:99", "cuda:99"),
        ("--space", "huge", "tiny"),
        ("--sampler", "magic", "tpe"),
        ("--pruner", "magic", "asha"),
        ("--study", "", "study"),
        ("--study", "a\nb", "name"),
        ("--study", "\x1b[31mred", "name"),
        ("--study", "a" * 600, "name"),
        ("--import", "no_such_module", "no_such_module"),
        ("--import", "", "import"),
        ("--bogus", "1", "bogus"),
    ],
)
def test_settings_that_are_not_known(option: str, value: str, named: str) -> None:
    assert named in search(option, value)
    assert not Path("nas.db").exists() or done("studies", "--json").document == {"studies": []}


def test_unknown_commands_and_options_are_one_line() -> None:
    assert "serach" in refused("serach")
    assert "--nope" in refused("--nope")
    assert "WHAT" in refused("show")
    assert "--help" in refused("rank", "--top", "x")


def test_unknown_names_say_what_is_known(searched: Searched) -> None:
    place = ("--storage", searched.storage)
    assert "resnet18" in refused("cost", "resnet19")
    assert "trial:17" in refused("train", "17")
    assert "no" in refused("show", "999", *place)
    assert "999" in refused("export", "--trial", "999", *place)
    assert "trial:x" in refused("show", "trial:x", *place)
    assert "trial:" in refused("train", "trial:99999999999999", *place)
    assert "digits-tiny" in refused("rank", "--study", "other", *place)
    assert "a.json" in refused("cost", "a.json")
    for odd in ("a" * 5000, "²", "", "\x1b[2J", "no\nsuch", "x" * 200 + ".json"):
        refused("cost", odd)
    refused("train", "resnet18", "--dataset", "digit")


def test_settings_that_contradict_each_other_are_not_ignored(searched: Searched) -> None:
    place = ("--storage", searched.storage)
    assert "--top" in refused("rank", "--pareto", "params", "--top", "3", *place)
    assert "--pareto" in refused("rank", "--csv", "x.csv", "--pareto", "params", *place)
    assert "--epochs" in refused("export", "--weights", "stored", "--epochs", "3", *place)


# Data


def test_datasets_that_do_not_exist_or_hold_nothing(tmp_path: Path) -> None:
    assert "digits" in search(dataset="digts")
    assert "no folder or file" in search(dataset=tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    assert "empty" in search(dataset=tmp_path / "empty")
    (tmp_path / "plain.txt").write_text("x")
    assert ".npz" in search(dataset=tmp_path / "plain.txt")
    (tmp_path / "hollow" / "train" / "cat").mkdir(parents=True)
    search(dataset=tmp_path / "hollow")
    for odd in ("a" * 5000, "", "\x1b[31m", "no\nsuch", "🚀", "'; DROP TABLE nas_studies;--", "../../x"):
        search(dataset=odd)


def test_folders_that_cannot_be_trained_on(tmp_path: Path) -> None:
    one = make_folder(tmp_path / "one")
    for part in ("train", "test"):
        shutil.rmtree(one / part / "red")
        shutil.rmtree(one / part / "blue")
    assert "at least 2" in refused("search", "--dataset", one, "--budget", "1")
    other = make_folder(tmp_path / "other")
    (other / "test" / "red").rename(other / "test" / "rot")
    assert "rot" in refused("search", "--dataset", other, "--budget", "1")
    damaged = make_folder(tmp_path / "damaged")
    victim = damaged / "train" / "red" / "003.png"
    victim.write_bytes(victim.read_bytes()[:200])
    assert "003.png" in refused("search", "--dataset", damaged, "--budget", "1")
    victim.write_text("no image")
    assert "003.png" in refused("search", "--dataset", damaged, "--budget", "1")
    victim.unlink()
    (damaged / "train" / "red" / "notes.txt").write_text("x")
    assert "notes.txt" in refused("search", "--dataset", damaged, "--budget", "1")
    assert done("studies", "--json").document == {"studies": []}


def test_arrays_without_their_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "keys.npz", images=np.zeros((4, 8, 8), np.uint8))
    assert "x_train" in search(dataset=tmp_path / "keys.npz")
    (tmp_path / "text.npz").write_text("text")
    assert "text.npz" in search(dataset=tmp_path / "text.npz")
    np.savez(tmp_path / "float.npz", x_train=np.zeros((4, 8, 8)), y_train=np.arange(4))
    assert "uint8" in search(dataset=tmp_path / "float.npz")


def test_no_network_on_first_use_of_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*arguments: object, **settings: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    message = refused("search", "--budget", "1", "--data-dir", tmp_path / "cache")
    assert str(tmp_path / "cache") in message
    assert "cifar-10-python.tar.gz" in message
    assert "--dataset digits" in message
    assert cifar.read_cifar10 is not None


def test_limits_that_nothing_fits_name_the_smallest() -> None:
    message = search("--max-params", "10")
    assert "smallest" in message
    assert "params" in message


# Studies


def test_a_study_of_other_data_or_space_is_refused(study_copy: Searched, tmp_path: Path) -> None:
    arrays = make_npz(tmp_path / "arrays.npz")
    place = ("--storage", study_copy.storage, "--study", "digits-tiny")
    before = done("rank", "--json", *place).document
    resumed = ("search", *SEARCH, "--budget", "9", *place)
    assert "dataset" in refused("search", "--dataset", arrays, "--budget", "9", "--epochs", "2", *place)
    assert "space" in refused(*resumed, "--space", "cifar")
    assert "epochs" in refused(*resumed, "--epochs", "3")
    assert "seed" in refused(*resumed, "--seed", "1")
    assert "limit_train" in refused(*resumed, "--limit-train", "200")
    assert done("rank", "--json", *place).document == before


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_for_study_out_and_classes(name: str, searched: Searched, tmp_path: Path) -> None:
    """A name is kept as it is or refused plainly; neither runs, breaks SQL or leaves its place."""
    home = tmp_path / "a" / "home"
    home.mkdir(parents=True)
    os.chdir(home)
    shutil.copytree(searched.folder, home, dirs_exist_ok=True)
    answer = typed("search", "--dataset", "digits", *SMALL, "--study", name, "--json")
    if answer.code == 0:
        assert answer.document["study"] == name
        assert done("rank", "--study", name, "--json").document["study"] == name
        assert done("show", "0", "--study", name, "--json").document["trial"] == 0
    else:
        assert answer.code == 2, answer
    assert "digits-tiny" in [study["name"] for study in done("studies", "--json").document["studies"]]
    out = Path("exports") / name
    answer = typed("export", "--study", "digits-tiny", "--weights", "stored", "--out", out)
    assert answer.code == 0, answer
    assert (out / "card.json").exists()
    assert {path.name for path in tmp_path.iterdir()} <= {"a", "cache"}


@pytest.mark.parametrize("name", ["it's", "x;--", "emoji 🚀", "{0}", "new\nline", "=cmd", "<script>"])
def test_odd_class_folders(name: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "images", train=6, test=2, names={"red": name})
    place = ("--storage", f"sqlite:///{tmp_path}/odd.db")
    answer = typed("search", "--dataset", root, "--budget", "1", "--epochs", "1", "--space", "tiny", "--quiet", *place)
    if "\n" in name:
        assert answer.code == 2
        assert len(answer.err.splitlines()) == 1
        return
    assert answer.code == 0, answer.err
    done("export", "--weights", "stored", *place)
    picture = next((root / "test" / "blue").iterdir())
    found = done("predict", "exports/best", picture, "--json").document["predictions"][0]
    assert name in found["probabilities"]


# Databases


def test_databases_that_cannot_be_used(tmp_path: Path, searched: Searched) -> None:
    assert "no database" in refused("rank")
    assert "no database" in refused("export")
    assert "no folder" in search("--storage", f"sqlite:///{tmp_path}/absent/nas.db")
    (tmp_path / "text.db").write_text("this is no database, but it is long enough to look like one" * 20)
    for verb in (("rank",), ("studies",), ("show", "1"), ("export",), ("search", "--dataset", "digits", *SMALL)):
        assert "text.db" in refused(*verb, "--storage", f"sqlite:///{tmp_path}/text.db")
    (tmp_path / "cut.db").write_bytes((searched.folder / "nas.db").read_bytes()[:20_000])
    refused("rank", "--storage", f"sqlite:///{tmp_path}/cut.db")
    for url in (
        "nonsense",
        "oracle://u:hunter2@h/d",
        "mysql://u:hunter2@h",
        "sqlite://",
        "postgresql://u:hunter2@[::1",
        "://",
        "\x1b[31m",
    ):
        assert "hunter2" not in refused("rank", "--storage", url)


def test_an_unreachable_server_is_named_without_its_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"postgresql://someone:hunter2@127.0.0.1:{port}/nas"
    for verb in (("rank",), ("studies",), ("search", "--dataset", "digits", *SMALL), ("export",)):
        answer = typed(*verb, "--storage", url)
        assert answer.code == 2
        assert len(answer.err.splitlines()) == 1
        assert "hunter2" not in answer.err + answer.out
        assert "127.0.0.1" in answer.err
    assert "hunter2" not in refused("rank", url)  # typed in the wrong place
    assert "hunter2" not in refused("rank", "--top", url)


AS_NOBODY = """
import os, sys
from click.testing import CliRunner
from nas.cli import main

storage, folder = sys.argv[1:]
commands = [
    ["rank", "--storage", storage],
    ["show", "0", "--storage", storage],
    ["export", "--storage", storage, "--weights", "stored", "--out", folder + "/out"],
    ["export", "--storage", storage, "--weights", "stored", "--out", folder + "/net"],
    ["rank", "--storage", storage, "--csv", folder + "/x.csv"],
    ["search", "--dataset", "digits", "--budget", "1", "--storage", storage],
]
runner = CliRunner()
for command in commands[:2] + commands[5:]:
    runner.invoke(main, command + ["--study", "warm up: import everything while that is allowed"])
if os.geteuid() == 0:
    os.setuid(65534)
for command in commands:
    result = runner.invoke(main, command)
    known = result.exception is None or isinstance(result.exception, SystemExit)
    print(result.exit_code, known, len(result.stderr.splitlines()), result.stderr.splitlines()[-1:])
"""


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="needs POSIX users")
def test_a_database_that_may_only_be_read_is_refused_in_one_line(study_copy: Searched, tmp_path: Path) -> None:
    for path in (study_copy.folder, tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    answer = python(AS_NOBODY, study_copy.storage, tmp_path, cwd=tmp_path)
    refusals = answer.out.splitlines()
    assert len(refusals) == 6, answer
    assert all(line.startswith("2 True 1 ") and "read-only" in line for line in refusals), answer


# Files


def test_files_that_cannot_be_written(searched: Searched, tmp_path: Path) -> None:
    place = ("--storage", searched.storage)
    (tmp_path / "file").write_text("")
    assert "file" in refused("rank", "--csv", tmp_path / "file" / "x.csv", *place)
    assert "absent" in refused("rank", "--csv", tmp_path / "absent" / "x.csv", *place)
    assert "x" * 20 in refused("rank", "--csv", "x" * 300, *place)
    refused("rank", "--csv", tmp_path, *place)
    for out in (tmp_path / "file" / "out", tmp_path / ("x" * 300), Path("/proc/out"), tmp_path / "file"):
        for command in (("export", *place), ("train", "resnet18", "--dataset", "digits", "--epochs", "9999")):
            assert out.name in refused(*command, "--out", out)  # before 9999 epochs of training
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]


def test_a_full_disk_is_one_line(searched: Searched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nas.bundle

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nas.bundle, "write_flushed", full)
    message = refused("export", "--storage", searched.storage, "--weights", "stored", "--out", tmp_path / "out")
    assert "No space left" in message
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_nobody_foresaw_keeps_its_traceback(searched: Searched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: a bug of ours is not dressed up as a user's mistake."""
    import nas.commands.rank

    monkeypatch.setattr(nas.commands.rank, "_table", lambda frame: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        typed("rank", "--storage", searched.storage)


def test_an_export_that_exists_is_refused_before_the_training(study_copy: Searched, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("keep")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("taken", "file", "link"):
        out = tmp_path / name
        assert "exists" in refused("export", "--storage", study_copy.storage, "--epochs", "10000", "--out", out)
        assert "exists" in refused("train", "resnet18", "--dataset", "digits", "--epochs", "9999", "--out", out)
    assert (tmp_path / "file").read_text() == "keep"
    assert list((tmp_path / "taken").iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["", "{", "[" * 100_000, '{"a": NaN}', '{"stages": [], "stages": []}', "null", "[]", "9" * 10_000, '"\\ud800"'],
)
def test_architecture_files_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    file = tmp_path / "net.json"
    file.write_text(text)
    for verb in ("show", "cost"):
        assert "net.json" in refused(verb, file)
    assert "net.json" in refused("train", file, "--dataset", "digits")


@pytest.mark.timeout(20)
def test_a_huge_architecture_file_is_not_read(tmp_path: Path) -> None:
    with open(tmp_path / "huge.json", "wb") as file:
        file.truncate(1 << 34)
    assert "huge.json" in refused("show", tmp_path / "huge.json")
    assert "/dev/zero" in refused("show", "/dev/zero")


# True processes


def test_a_process_prints_a_plain_line_and_exits_with_2(tmp_path: Path) -> None:
    answer = in_process("search", "--dataset", "digts", "--budget", "1", cwd=tmp_path)
    assert (answer.code, answer.out, len(answer.err.splitlines())) == (2, "", 1)
    answer = in_process("rank", "--storage", "postgresql://someone:hunter2@127.0.0.1:9/nas", cwd=tmp_path)
    assert answer.code == 2
    assert "hunter2" not in answer.err
    assert "Traceback" not in answer.err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)]
)
def test_a_training_that_is_interrupted_writes_nothing(number: int, code: int, exported: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "nas", "train", str(exported), "--dataset", "digits", "--epochs", "5000"]
    log = tmp_path / "log"
    with log.open("w") as stderr, subprocess.Popen([*command, "--out", "net"], cwd=tmp_path, stderr=stderr) as process:
        until = time.monotonic() + 90
        while "epoch 1/" not in log.read_text() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(30) == code, log.read_text()
    assert log.read_text().splitlines()[-1] == "Error: the training was interrupted; nothing was written"
    assert {path.name for path in tmp_path.iterdir()} <= {"log", "cache"}


def test_an_interrupted_search_says_how_to_resume_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    from nas.terminal import command_line, without_password

    monkeypatch.setattr(
        sys, "argv", ["nas", "search", "--storage", "postgresql://me:hunter2@host/nas", "--budget", "5"]
    )
    assert command_line() == "nas search --storage postgresql://me:***@host/nas --budget 5"
    assert without_password("x postgresql://me:p@ss:w@host:5432/nas y") == "x postgresql://me:***@host:5432/nas y"
    assert without_password("http://host:80/a@b") == "http://host:80/a@b"
