"""The model card of an exported encoder: what it is, how it is used, what it scored and what nobody knows of it.

Source: the hub's metadata of model cards (license, library_name, pipeline_tag, tags), and the fields of a scorecard.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from leveret.content import weights_digest
from leveret.exporting.folders import NotExportableError
from leveret.exporting.formats import Exported
from leveret.results import Scorecard, TaskResult
from leveret.text import printable

LICENCE_KEY = "license"
"""Of what a checkpoint's writer added: what may be done with the weights, as an identifier such as cc-by-4.0."""
UNKNOWN = "unknown"
TAGS = ("audio", "audio-representation", "embeddings", "leveret")
_SHOWN_FACTS = 40


def licence(extra: Mapping[str, Any]) -> str:
    """The licence of the weights that their checkpoint names, or "unknown"."""
    found = extra.get(LICENCE_KEY)
    return found.strip() if isinstance(found, str) and found.strip() else UNKNOWN


def model_card(exported: Exported, folder: str) -> str:
    """README.md of the folder.

    Args:
        folder: Its name, for the examples.

    Raises:
        NotExportableError: The scorecard is none, or of other weights than these.
    """
    return "\n".join(
        [*_header(exported), *_about(exported), *_use(exported, folder), *_evaluation(exported), *_origin(exported)]
    )


def _header(exported: Exported) -> Iterator[str]:
    # a JSON string is a YAML string, whatever is in it
    yield "---"
    yield f"license: {json.dumps(licence(exported.extra))}"
    yield "library_name: transformers"
    yield "pipeline_tag: feature-extraction"
    yield "tags:"
    yield from (f"- {tag}" for tag in TAGS)
    yield f"- {json.dumps(exported.name)}"
    yield "---"
    yield ""


def _about(exported: Exported) -> Iterator[str]:
    encoder = exported.encoder
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    yield f"# {exported.name}"
    yield ""
    yield (
        "An audio encoder of leveret: a mono wave becomes one vector. The front end and the pooling are part of the "
        "model."
    )
    yield ""
    yield "| | |"
    yield "|---|---|"
    yield f"| takes | waves at {encoder.sample_rate:,} Hz, mono, in [-1, 1], at least {encoder.min_samples} samples |"
    yield f"| gives | vectors of {encoder.embed_dim:,} numbers |"
    yield f"| parameters | {parameters:,} |"
    yield f"| layers | {', '.join(f'{name} ({width})' for name, width in encoder.layers.items())} |"
    yield f"| weights | sha256 `{weights_digest(encoder)}` |"
    yield ""


def _use(exported: Exported, folder: str) -> Iterator[str]:
    rate = exported.encoder.sample_rate
    yield "## Use"
    yield ""
    yield "```python"
    yield "import torch"
    yield "from transformers import AutoModel"
    yield ""
    yield f"model = AutoModel.from_pretrained({json.dumps(folder)}, trust_remote_code=True).eval()"
    yield f"waves = torch.zeros(2, {rate})  # two waves of one second at {rate} Hz"
    yield "with torch.inference_mode():"
    yield "    output = model(waves)"
    yield f"output.pooler_output  # (2, {exported.encoder.embed_dim})"
    yield "output.last_hidden_state  # the last layer over time"
    yield "```"
    yield ""
    yield (
        "Waves of one batch have one length; there is no mask, so put waves of one length together. "
        "`output_hidden_states=True` gives every layer over time. All parameters train."
    )
    yield ""
    yield "The Python files are leveret's, under the Apache License 2.0 (`LICENSE.leveret`); they run without leveret."
    if licence(exported.extra) == UNKNOWN:
        yield "What may be done with the weights is not known: their checkpoint names no license."
    yield ""


def _evaluation(exported: Exported) -> Iterator[str]:
    yield "## Evaluation"
    yield ""
    if exported.scorecard is None:
        yield "Not evaluated."
        yield ""
        return
    card = Scorecard.from_json(json.dumps(exported.scorecard), "the scorecard")
    digest = weights_digest(exported.encoder)
    scored = str(card.encoder.get("digest"))
    if scored != digest:
        raise NotExportableError(
            f"the scorecard is of {printable(card.encoder['name'])} with weights {printable(scored)[:12]}, the "
            f"encoder's weights are {digest[:12]}; expected a run that evaluated these very weights, or none"
        )
    yield f"Protocol: {_cell(card.protocol['title'])}. A frozen encoder, a probe trained on its vectors."
    yield "Scores are x 100, with 95 % bootstrap intervals over groups of clips; scores of different protocols are not"
    yield "comparable."
    yield ""
    for suite, summary in card.summaries().items():
        yield f"**{_cell(summary.title)}** of suite {_cell(suite)}: {100 * summary.mean:.1f}"
        yield ""
        for note in summary.notes:
            yield f"- {_cell(note)}"
        if summary.notes:
            yield ""
    yield "| task | metric | score | interval | test clips scored | training clips met | list |"
    yield "|---|---|---|---|---|---|---|"
    yield from map(_row, card.tasks)
    yield ""
    warned = [f"- {_cell(result.task)}: {_cell(why)}" for result in card.tasks for why in result.warnings]
    if warned:
        yield "Read with care:"
        yield ""
        yield from warned
        yield ""
    facts = {key: card.run.get(key) for key in ("finished", "device", "dtype", "code")}
    versions = card.run.get("versions")
    facts |= {key: value for key, value in versions.items()} if isinstance(versions, Mapping) else {}
    yield "Evaluated with " + ", ".join(f"{_cell(key)} {_cell(value)}" for key, value in facts.items() if value) + "."
    yield ""


def _row(result: TaskResult) -> str:
    low, high = result.interval
    wide = " (few groups)" if result.interval_wide else ""
    cells = (
        _cell(result.task),
        _cell(result.metric),
        f"{100 * result.score:.1f}",
        f"{100 * low:.1f} to {100 * high:.1f}{wide}",
        f"{result.coverage:.1%}",
        _cell(result.contamination),
        f"`{_cell(result.split_hash[:12])}`",
    )
    return f"| {' | '.join(cells)} |"


def _origin(exported: Exported) -> Iterator[str]:
    plain = {key: value for key, value in exported.extra.items() if isinstance(value, str | int | float | bool)}
    yield "## Training"
    yield ""
    if not plain:
        yield "Nothing is recorded of how the weights were trained."
    else:
        yield "What the checkpoint's writer recorded:"
        yield ""
        yield from (f"- {_cell(key)}: {_cell(value)}" for key, value in list(plain.items())[:_SHOWN_FACTS])
    yield ""


def _cell(value: object) -> str:
    """Text of a stranger that neither breaks a table nor becomes markup."""
    text = printable(value)[:300]
    return "".join(f"\\{letter}" if letter in "\\|<>`*_[]" else letter for letter in text)
