"""`hf:MODEL`: a model of transformers with its own feature extractor, from a folder or the hub's cache.

    hf:models/wavlm                          a folder that save_pretrained wrote
    hf:microsoft/wavlm-base-plus@REVISION    from the hub's cache; #download=yes asks the hub
    hf:models/wavlm#layer=9,pooling=mean     other than the family's default

Nothing is downloaded and no code of a model runs unless the spec says so. `#trust_remote_code=yes` needs a pinned
revision: a full commit of the hub, or for a folder the digest of its Python files, which the error tells.
Source: transformers; what is known of families stands in `encoders.toml`.
Departures: transformers never sees torchaudio or torchvision, whether they work or not: AST's filter banks are numpy's.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from leveret.adapters.faults import AdapterError
from leveret.adapters.foreign import Foreign, first_line, options_of, required
from leveret.adapters.hf_families import Family, HfEncoder, families
from leveret.content import file_sha256

OPTIONS = ("layer", "pooling", "trust_remote_code", "download")
CONFIG_FILES = ("config.json", "preprocessor_config.json")
HARMLESS_MISSING = ("masked_spec_embed",)  # only pretraining reads it


def hf_encoder(rest: str) -> Foreign:
    """MODEL[@REVISION][#layer=N,pooling=mean|class,trust_remote_code=yes,download=yes], a model of transformers.

    Raises:
        AdapterError: No such model here, one that would have to run code of its own, or an option it has not.
    """
    spec = f"hf:{rest}"
    target, options = options_of(spec, rest, OPTIONS)
    name, revision = _name_and_revision(target)
    for key in ("trust_remote_code", "download"):
        if options.get(key, "no") not in ("yes", "no"):
            raise AdapterError(f"{spec}: {key}={options[key]!r}; expected yes or no")
    if not name:
        raise AdapterError(f"{spec}: no model is named; expected such as hf:FOLDER or hf:facebook/wav2vec2-base")
    if revision and Path(name).is_dir() and options.get("trust_remote_code") != "yes":
        raise AdapterError(f"{spec}: a folder has no revision; leave out @{revision}")
    _import_transformers(spec)
    where: dict[str, Any] = {"local_files_only": options.get("download") != "yes"}
    if revision and not Path(name).is_dir():
        where["revision"] = revision
    with _quiet():
        settings = _settings(spec, name, where)
        trusted = _trusted(spec, name, revision, settings, options.get("trust_remote_code") == "yes")
        kind = str(settings.get("model_type", ""))
        family = families().get(kind) or Family(model_type=kind, title=kind, sample_rate=16_000)
        if family.loader != "hf":
            raise AdapterError(f"{spec}: transformers cannot load {family.title}; use py:FILE:CLASS ({family.note})")
        where |= {"trust_remote_code": trusted}
        network, extractor = _network(spec, name, family, where), _extractor(spec, name, family, where)
    encoder = HfEncoder(spec, family, network, extractor, options.get("layer", ""), options.get("pooling", "")).eval()
    facts = {"model_type": kind, "layer": list(encoder.layers)[-1], "pooling": encoder.pooling}
    return Foreign(encoder, Path(name).name, _sources(name, where), facts)


def code_digest_of(folder: Path) -> str:
    """What pins the Python files of a folder: the first 40 digits of a sha256 over their names and bytes."""
    lines = [f"{path.relative_to(folder).as_posix()} {file_sha256(path)}\n" for path in sorted(folder.rglob("*.py"))]
    return sha256("".join(lines).encode()).hexdigest()[:40]


def _name_and_revision(target: str) -> tuple[str, str]:
    name, mark, revision = target.rpartition("@")
    return (target, "") if not mark or Path(target).exists() else (name, revision)


def _import_transformers(spec: str) -> None:
    """Import it with torchaudio and torchvision hidden, so that a broken one cannot take it along."""
    hidden = [name for name in ("torchaudio", "torchvision") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python marks what cannot be imported
    try:
        required("transformers", "hf", spec)
        known = required("transformers.utils", "hf", spec)
        for name in hidden:
            getattr(known, f"is_{name}_available")()  # the answer is remembered
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars, no reports of weights that an encoder does not use, no background request to convert a checkpoint."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    converting = os.environ.get("DISABLE_SAFETENSORS_CONVERSION")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    os.environ["DISABLE_SAFETENSORS_CONVERSION"] = "1"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            # AST has 128 bands from 257 bins; the lowest ones are empty in the model that was trained, too
            warnings.filterwarnings("ignore", "At least one mel filter has all zero values")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if converting is None:
            del os.environ["DISABLE_SAFETENSORS_CONVERSION"]
        else:
            os.environ["DISABLE_SAFETENSORS_CONVERSION"] = converting


def _settings(spec: str, name: str, where: Mapping[str, Any]) -> dict[str, Any]:
    """The values of config.json, before any class is chosen by them."""
    from transformers import PreTrainedConfig

    try:
        settings, _ = PreTrainedConfig.get_config_dict(name, **where)
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{spec}: no model {name!r} here: expected a folder with config.json, or a model in the hub's cache; "
            f"#download=yes asks the hub ({first_line(error)})"
        ) from error
    if not settings:
        raise AdapterError(f"{spec}: no config.json for {name!r}; expected what save_pretrained writes")
    return dict(settings)


def _trusted(spec: str, name: str, revision: str, settings: Mapping[str, Any], wanted: bool) -> bool:
    """Whether the model's own code may run."""
    from transformers import CONFIG_MAPPING

    own_code = settings.get("auto_map") or {}
    if not own_code or settings.get("model_type") in CONFIG_MAPPING:
        return False
    folder = Path(name)
    pin = code_digest_of(folder) if folder.is_dir() else "COMMIT"
    how = f"read it, then pin what you read: hf:{name}@{pin}#trust_remote_code=yes"
    if not wanted:
        raise AdapterError(f"{spec}: this model brings Python code of its own, which does not run unasked; {how}")
    if any("--" in str(place) for place in own_code.values()):
        raise AdapterError(f"{spec}: its config.json takes code from another repository, whose revision nothing pins")
    pinned = revision == pin if folder.is_dir() else _is_commit(revision)
    if not pinned:
        raise AdapterError(
            f"{spec}: trust_remote_code=yes needs a pinned revision, a full commit or for a folder the digest of its "
            f"code, and {revision or 'none'!r} is none of this model; {how}"
        )
    return True


def _is_commit(revision: str) -> bool:
    return len(revision) == 40 and set(revision) <= set("0123456789abcdef")


def _network(spec: str, name: str, family: Family, where: Mapping[str, Any]) -> torch.nn.Module:
    import transformers

    # CLAP has a text tower beside, which is not even read
    chosen: Any = transformers.ClapAudioModelWithProjection if family.model_type == "clap" else transformers.AutoModel
    with torch.random.fork_rng(devices=[]):
        try:
            network, report = chosen.from_pretrained(name, dtype=torch.float32, output_loading_info=True, **where)
        except (OSError, ValueError, RuntimeError) as error:
            raise AdapterError(f"{spec}: the model cannot be loaded: {first_line(error)}") from error
    if family.model_type == "whisper":
        network = network.get_encoder()
    own = set(network.state_dict())
    missing = sorted(key for key in report["missing_keys"] if key.removeprefix("encoder.") in own or key in own)
    missing = [key for key in missing if not key.endswith(HARMLESS_MISSING)]
    if missing:
        raise AdapterError(
            f"{spec}: {len(missing)} weights are not in its files and would be random, {missing[0]} the first; "
            "expected a whole model"
        )
    loaded: torch.nn.Module = network.eval()
    return loaded


def _extractor(spec: str, name: str, family: Family, where: Mapping[str, Any]) -> Any:
    import transformers

    if family.features:
        values = family.features
        return transformers.ASTFeatureExtractor(
            sampling_rate=family.sample_rate, mean=values["mean"], std=values["std"], max_length=values["max_length"]
        )
    try:
        return transformers.AutoFeatureExtractor.from_pretrained(name, **where)
    except (OSError, ValueError) as error:
        raise AdapterError(
            f"{spec}: no feature extractor for {name!r}; expected preprocessor_config.json, which "
            f"its save_pretrained writes ({first_line(error)})"
        ) from error


def _sources(name: str, where: Mapping[str, Any]) -> list[Path]:
    """Config files and code; the weights count through the digest of the network."""
    from transformers.utils.hub import cached_file

    places = {key: value for key, value in where.items() if key != "trust_remote_code"}
    found = [cached_file(name, file, _raise_exceptions_for_missing_entries=False, **places) for file in CONFIG_FILES]
    code = sorted(Path(name).rglob("*.py")) if Path(name).is_dir() else []
    return [Path(path) for path in found if path] + code


ADAPTERS = {"hf": hf_encoder}
