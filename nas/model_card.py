"""What people and Hugging Face's tools read of an export: its README.md and config.json. `nas.load` needs neither."""

from __future__ import annotations

import json
from typing import Any

from nas.progress import summary
from nas.quantities import show_count
from nas.trained import Card
from searchspace import Architecture


def hub_config(architecture: Architecture, card: Card) -> dict[str, Any]:
    """config.json by the names that Hugging Face's tools know; all of it follows from the other two files."""
    return {
        "library_name": "nas",
        "model_type": "nas",
        "architectures": ["TrainedNetwork"],
        "architecture_file": "architecture.json",
        "architecture_digest": architecture.digest,
        "card_file": "card.json",
        "num_labels": len(card.classes),
        "id2label": {str(number): label for number, label in enumerate(card.classes)},
        "label2id": {label: number for number, label in enumerate(card.classes)},
        "num_channels": architecture.channels,
        "image_size": card.input_size,
        "resolution": architecture.resolution,
        "image_mean": list(card.mean),
        "image_std": list(card.std),
    }


def describe(architecture: Architecture, card: Card) -> str:
    """The export's README: what the network is, what it scored, how to use it; Hugging Face's metadata stands first."""

    def share(value: float | None) -> str:
        return "not measured" if value is None else f"{value:.2%}"

    images = "" if card.test_accuracy is None else f" ({card.test_images or 0} images, measured once)"
    flipped = ""
    if card.test_accuracy_flipped is not None:  # beside the plain one, which tables compare
        flipped = (
            f"| test accuracy, logits averaged with the mirrored image's | {share(card.test_accuracy_flipped)} |\n"
        )
    return f"""{_front_matter(architecture, card)}
# {card.dataset}: {summary(architecture)}

{show_count(card.params)} parameters, {show_count(card.macs)} multiply-adds for one image of \
{architecture.resolution}x{architecture.resolution} pixels, {len(card.classes)} classes.

![The network, stage by stage: what leaves each, and its share of parameters and multiply-adds](architecture.svg)

| | |
|---|---|
| validation accuracy | {share(card.val_accuracy)} |
| test accuracy | {share(card.test_accuracy)}{images} |
{flipped}{_confirmed(card)}| validation accuracy during the search | {share(card.search_val_accuracy)} |
| study, trial | {card.study}, {card.trial} |

```python
import nas

network = nas.load("path/to/this/folder")
network.predict("image.png")         # or a PIL image, a uint8 array or tensor, or a list of them
network(network.preprocess("image.png"))   # logits
```

`architecture.json` describes the network and `architecture.svg` shows it, `model.safetensors` holds its weights,
`card.json` says how it was trained, what it scored and the SHA-256 of both. `config.json` repeats for Hugging Face's
tools what they ask for.
"""


def _confirmed(card: Card) -> str:
    """Where these are the weights of a confirmed winner: the mean that they are the best one of."""
    facts = card.recipe.get("confirmation")
    if not isinstance(facts, dict):
        return ""
    return (
        f"| mean validation accuracy over {facts['seeds']} seeds, of which this is the best | "
        f"{facts['mean_val_accuracy']:.2%} |\n"
    )


def _front_matter(architecture: Architecture, card: Card) -> str:
    name, data = _quoted(architecture.name or architecture.digest[:12]), _quoted(card.dataset)
    lines = [
        "---",
        "library_name: nas",
        "pipeline_tag: image-classification",
        "tags: [image-classification, neural-architecture-search, pytorch]",
    ]
    measured = {"test": card.test_accuracy, "validation": card.val_accuracy}
    results = [
        f"  - task: {{type: image-classification}}\n"
        f"    dataset: {{name: {data}, type: {data}, split: {split}}}\n"
        f"    metrics: [{{type: accuracy, name: {split} accuracy, value: {value}}}]"
        for split, value in measured.items()
        if value is not None
    ]
    if results:
        lines += ["metrics: [accuracy]", "model-index:", f"- name: {name}", "  results:", *results]
    return "\n".join([*lines, "---", ""])


def _quoted(text: str) -> str:
    """A person's text as YAML, which JSON is as long as it can be printed."""
    return json.dumps(text if text.isprintable() else ascii(text), ensure_ascii=False)
