"""An export is a model folder of Hugging Face's layout: saved, opened and downloaded without loss, offline too."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from command import Answer, python
from huggingface_hub import ModelCard
from networks import trained_network
from safetensors.torch import load_file

import nas
from nas.errors import BundleError, NasError
from nas.model_card import describe
from nas.trained import TrainedNetwork
from searchspace import Architecture, Stage
from searchspace.blocks import Conv

SMALL = Architecture(resolution=8, classes=3, stages=(Stage(block=Conv(width=4)),))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def logits(network: TrainedNetwork) -> torch.Tensor:
    pixels = torch.randint(0, 256, (4, network.channels, 8, 8), dtype=torch.uint8)
    with torch.inference_mode():
        return network(network.normalise(pixels))


def test_saved_and_opened_again_the_logits_are_equal_bit_for_bit(tmp_path: Path) -> None:
    network = trained_network(SMALL)
    card = network.save_pretrained(tmp_path / "net")
    for opened in (nas.from_pretrained(tmp_path / "net"), TrainedNetwork.from_pretrained(str(tmp_path / "net"))):
        assert opened.card == card
        assert not opened.training
        torch.manual_seed(0)
        expected = logits(network)
        torch.manual_seed(0)
        assert torch.equal(logits(opened), expected)
    opened.save_pretrained(tmp_path / "again")
    for file in (tmp_path / "net").iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_config_says_in_hugging_faces_words_what_the_card_says(exported: Path) -> None:
    config, card = (json.loads((exported / name).read_text()) for name in ("config.json", "card.json"))
    assert config["library_name"] == "nas"
    assert [config["id2label"][str(number)] for number in range(10)] == card["classes"]
    assert all(config["id2label"][str(number)] == label for label, number in config["label2id"].items())
    assert (config["image_mean"], config["image_std"]) == (card["mean"], card["std"])
    assert (config["image_size"], config["num_channels"], config["num_labels"]) == (8, 1, 10)
    assert load_file(exported / "model.safetensors").keys() == nas.load(exported).network.state_dict().keys()


def test_the_readmes_metadata_is_what_the_hub_reads(exported: Path) -> None:
    card = nas.load(exported).card
    found = ModelCard((exported / "README.md").read_text()).data
    assert (found.library_name, found.pipeline_tag) == ("nas", "image-classification")
    assert found.metrics == ["accuracy"]
    results = {result.dataset_split: result.metric_value for result in found.eval_results or []}
    assert results == {"test": card.test_accuracy, "validation": card.val_accuracy}
    assert {result.dataset_name for result in found.eval_results or []} == {"digits"}


@pytest.mark.parametrize(
    "name", ['a "quoted": {name}\\', "#", "emoji \U0001f600, ümlaut", "---", "a\nb\x85", "\udc80 - x"]
)
def test_any_name_of_a_data_set_is_text_in_the_metadata(name: str) -> None:
    network = trained_network(SMALL)
    card = network.card.model_copy(update={"dataset": name, "test_accuracy": 0.5})
    found = ModelCard(describe(SMALL, card)).data
    (result,) = found.eval_results or []
    assert result.dataset_name == (name if name.isprintable() else ascii(name))


def test_without_a_measurement_the_metadata_claims_none() -> None:
    found = ModelCard(describe(SMALL, trained_network(SMALL).card)).data
    assert found.eval_results is None
    assert found.metrics is None


def test_after_further_training_the_accuracies_are_left_out(exported: Path, tmp_path: Path) -> None:
    network = nas.load(exported)
    confirmed = {"seeds": 2, "mean_val_accuracy": 0.9}
    network.card = network.card.model_copy(update={"recipe": network.card.recipe | {"confirmation": confirmed}})
    assert network.save_pretrained(tmp_path / "same") == network.card  # the control
    assert "2 seeds" in (tmp_path / "same" / "README.md").read_text()
    with torch.no_grad():
        next(network.network.parameters()).mul_(1.5)
    card = network.save_pretrained(tmp_path / "changed")
    assert (card.val_accuracy, card.test_accuracy, card.search_val_accuracy, card.test_images) == (None,) * 4
    assert card.classes == network.classes
    readme = (tmp_path / "changed" / "README.md").read_text()
    assert "seeds" not in readme
    assert "| test accuracy | not measured |" in readme
    assert torch.equal(
        next(nas.from_pretrained(tmp_path / "changed").network.parameters()), next(network.network.parameters())
    )


def test_what_cannot_be_saved_is_refused(exported: Path, tmp_path: Path) -> None:
    network = trained_network(SMALL)
    with pytest.raises(NasError, match="exists"):
        network.save_pretrained(exported)
    with pytest.raises(NasError, match=r"these are torch\.float16: network\.float\(\) first"):
        network.half().save_pretrained(tmp_path / "net")
    network.network.head.classifier.append(torch.nn.Linear(3, 3))
    with pytest.raises(BundleError, match="does not fit"):
        network.float().save_pretrained(tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_neither_folder_nor_repository_is_refused(tmp_path: Path, exported: Path) -> None:
    for name in ("absent", "a/b/c", "../x", "/x/y", "user/", "user/na me", "user/name\n", "-user/name", "ü/x"):
        with pytest.raises(BundleError, match="a repository of the hub is named user/name"):
            nas.from_pretrained(name)
    with pytest.raises(NasError, match="leave out revision='main'"):
        nas.from_pretrained(exported, revision="main")
    with pytest.raises(BundleError, match="no export folder"):
        nas.load("user/name")  # never asks a network


def test_an_export_without_config_opens_and_other_keys_may_stand_in_it(bundle: Path) -> None:
    config = json.loads((bundle / "config.json").read_text())
    (bundle / "config.json").write_text(json.dumps(config | {"tags": ["mine"]}))
    nas.load(bundle)
    (bundle / "config.json").unlink()
    nas.load(bundle)


def cached(bundle: Path, place: Path) -> Path:
    """The bundle as Hugging Face's cache keeps it."""
    snapshot, blobs = place / "models--user--name/snapshots" / COMMIT, place / "models--user--name/blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for file in bundle.iterdir():
        blob = blobs / sha256(file.read_bytes()).hexdigest()
        shutil.copy(file, blob)
        (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    return snapshot


def test_the_links_of_hugging_faces_cache_are_followed_and_no_others(bundle: Path, tmp_path: Path) -> None:
    snapshot = cached(bundle, tmp_path)
    network = nas.from_pretrained(snapshot)
    assert network.card == nas.load(snapshot).card == nas.load(bundle).card
    weights = snapshot / "model.safetensors"
    blob = Path(os.path.realpath(weights))
    moved = blob.rename(tmp_path / "elsewhere")
    for target in (moved, Path("../../../elsewhere"), weights, Path("/dev/zero")):
        weights.unlink()
        weights.symlink_to(target)
        with pytest.raises(BundleError, match="it is a link"):
            nas.load(snapshot)
    blob.symlink_to(moved)  # a link in blobs that leads out of it
    weights.unlink()
    weights.symlink_to(Path("../../blobs") / blob.name)
    with pytest.raises(BundleError, match="it is a link"):
        nas.load(snapshot)
    blob.unlink()
    moved.rename(blob)
    nas.load(snapshot)


class Hub(BaseHTTPRequestHandler):
    """The parts of the hub's interface that a download asks: one repository, user/name."""

    folder: Path
    asked: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.asked.append(self.path)
        path = self.path.split("?")[0]
        names = sorted(file.name for file in self.folder.iterdir())
        if path.startswith("/api/models/user/name/revision/"):
            siblings = [{"rfilename": name} for name in names]
            self.reply(json.dumps({"id": "user/name", "sha": COMMIT, "siblings": siblings}).encode(), body)
        elif path.startswith("/api/models/user/name/tree/"):
            self.reply(json.dumps([self.entry(name) for name in names]).encode(), body)
        elif path.startswith(f"/user/name/resolve/{COMMIT}/") and path.rsplit("/", 1)[1] in names:
            self.reply((self.folder / path.rsplit("/", 1)[1]).read_bytes(), body, {"X-Repo-Commit": COMMIT})
        else:
            self.reply(b"", body, {"X-Error-Code": "RepoNotFound"}, status=404)

    def entry(self, name: str) -> dict[str, Any]:
        data = (self.folder / name).read_bytes()
        return {"type": "file", "path": name, "size": len(data), "oid": sha256(data).hexdigest()[:40]}

    def reply(self, data: bytes, body: bool, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {"ETag": f'"{sha256(data).hexdigest()[:40]}"', **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def hub(exported: Path) -> Iterator[tuple[str, list[str]]]:
    """The address of a hub on this machine that has one repository, and what was asked of it."""
    asked: list[str] = []
    handler = type("OneRepository", (Hub,), {"folder": exported, "asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


OPEN = """
import sys, warnings
import nas
from nas.errors import NasError
warnings.simplefilter("ignore")
for name in sys.argv[1:]:
    try:
        network = nas.from_pretrained(name)
        print("opened", network.card.weights_sha256)
    except NasError as error:
        print("refused", " ".join(str(error).split()))
print("hub" if "huggingface_hub" in sys.modules else "no hub")
"""

BLOCKED = """
import sys
def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
        raise OSError(f"the network was asked: {event} {arguments}")
sys.addaudithook(refuse)
"""


def opened(*names: str | Path, cwd: Path, code: str = OPEN, **environment: str) -> list[str]:
    """Lines of OPEN in a fresh interpreter with a cache of its own."""
    answer: Answer = python(
        code, *names, cwd=cwd, env={"HF_HOME": str(cwd / "hf"), "NO_PROXY": "127.0.0.1", **environment}
    )
    assert answer.code == 0, answer.err
    return answer.out.splitlines()


def test_a_folder_opens_with_every_socket_blocked_and_without_huggingface_hub(exported: Path, tmp_path: Path) -> None:
    shutil.copytree(exported, tmp_path / "user/name")
    weights = nas.load(exported).card.weights_sha256
    code = BLOCKED + "sys.modules['huggingface_hub'] = None\n" + OPEN.replace('"huggingface_hub" in', "False and")
    lines = opened("user/name", tmp_path / "user/name", "user/other", cwd=tmp_path, code=code)
    assert lines[:2] == [f"opened {weights}"] * 2
    assert lines[2].startswith("refused there is no folder 'user/other'; to look for it on the Hugging Face hub")
    assert "pip install -e '.[hub]'" in lines[2]


def test_a_repository_is_downloaded_checked_and_then_opens_offline(
    hub: tuple[str, list[str]], exported: Path, tmp_path: Path
) -> None:
    address, asked = hub
    weights = nas.load(exported).card.weights_sha256
    lines = opened("user/name", "user/absent", cwd=tmp_path, HF_ENDPOINT=address)
    assert lines[0] == f"opened {weights}"
    assert lines[1].startswith("refused there is no folder 'user/absent', and the Hugging Face hub did not give")
    assert lines[2] == "hub"
    files = {path.rsplit("/", 1)[1] for path in asked if "/resolve/" in path}
    assert files == {"architecture.json", "card.json", "config.json", "model.safetensors"}
    before = len(asked)
    damaged = shutil.copytree(
        tmp_path / "hf/hub/models--user--name", tmp_path / "hf/hub/models--user--damaged", symlinks=True
    )
    (weights_link,) = damaged.glob("snapshots/*/model.safetensors")
    blob = Path(os.path.realpath(weights_link))
    blob.write_bytes(blob.read_bytes()[:-1] + b"\xff")
    names = ("user/name", "user/never", "user/damaged")
    lines = opened(*names, cwd=tmp_path, code=BLOCKED + OPEN, HF_HUB_OFFLINE="1")
    assert lines[0] == f"opened {weights}"
    assert "HF_HUB_OFFLINE forbids to ask, and it was not downloaded before" in lines[1]
    assert "is damaged or was changed" in lines[2]
    assert len(asked) == before


@pytest.mark.slow
def test_without_a_network_the_message_says_so(tmp_path: Path) -> None:
    (line, _) = opened("user/name", cwd=tmp_path, code=BLOCKED + OPEN)
    assert line.startswith("refused there is no folder 'user/name', and the Hugging Face hub did not give")
    assert len(line) < 500
