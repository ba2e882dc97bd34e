"""``pool3 weights``: list, fetch, verify and convert weights files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pool3.weights import LoadedWeights

app = typer.Typer(help="Known weights: list, fetch, verify, convert.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
BackboneName = Annotated[
    str | None,
    typer.Option(
        "--backbone", help="Default: that of the named weights, else inception_v3.", show_default=False
    ),
]


@app.command("list")
def list_weights(json: Json = False) -> None:
    """Show all known weights, where they lie, and which formats can be given by path."""
    from pool3.commands.output import print_json
    from pool3.errors import HashMismatchError
    from pool3.weights import KNOWN_WEIGHTS, cache_directory
    from pool3.weights.registry import BY_PATH
    from pool3.weights.resolve import find_known

    rows: list[dict[str, Any]] = []
    for known in KNOWN_WEIGHTS.values():
        try:
            path = find_known(known)
            state = "here" if path else "not fetched"
        except HashMismatchError as error:
            path, state = None, f"damaged: {error}"
        rows.append(
            {
                "name": known.name,
                "backbone": known.backbone,
                "default": known.default,
                "size": known.size,
                known.algorithm: known.digest,
                "licence": known.licence,
                "urls": list(known.urls),
                "package": known.package[0] if known.package else None,
                "state": state,
                "path": str(path) if path else None,
            }
        )
    if json:
        print_json({"weights": rows, "by_path": dict(BY_PATH), "cache": str(cache_directory())})
        return
    for row in rows:
        default = " (default)" if row["default"] else ""
        print(
            f"{row['name']}: for {row['backbone']}{default}, "
            f"{row['size']:,} bytes, {row['licence']}, {row['state']}"
        )
        for origin in row["urls"] or [f"Python package {row['package']}"]:
            print(f"    from {origin}")
        hashed = "sha256" if "sha256" in row else "md5"
        note = "" if hashed == "sha256" else ", the only hash published"
        print(f"    {hashed} {row[hashed]}{note}")
        if row["path"]:
            print(f"    at {row['path']}")
    print("By path, with --weights PATH:")
    for form, what in BY_PATH.items():
        print(f"    {form}: {what}")
    print(f"Cache: {cache_directory()}")


@app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="As in `pool3 weights list`.")] = "inception_v3",
    json: Json = False,
) -> None:
    """Download named weights into the cache and verify them; interrupted downloads are continued."""
    from pool3.backbones import get_backbone
    from pool3.commands.output import note, print_json, progress
    from pool3.errors import WeightsNotFoundError
    from pool3.weights import KNOWN_WEIGHTS, locate

    known = KNOWN_WEIGHTS.get(name)
    if known is None:
        raise WeightsNotFoundError(
            f"There are no weights named {name!r}; choose one of {', '.join(KNOWN_WEIGHTS)}."
        )
    with progress(f"fetching {known.filename}", "bytes") as report:
        path = locate(get_backbone(known.backbone), name, offline=False, progress=report)
    if known.algorithm == "md5":
        note(f"verified by MD5, the only hash published for {known.filename}")
    if json:
        print_json({"name": name, "path": str(path), "size": known.size, known.algorithm: known.digest})
    else:
        print(path)


@app.command()
def verify(
    weights: Annotated[str, typer.Argument(help="Name or path.")] = "inception_v3",
    backbone: BackboneName = None,
    json: Json = False,
) -> None:
    """Check the hash (of named weights), and every tensor's name, shape and values. Nothing is downloaded."""
    loaded, made_for = _load(weights, backbone)
    result = _summary(loaded, made_for)
    if json:
        from pool3.commands.output import print_json

        print_json(result)
    else:
        for key, value in result.items():
            print(f"{key}: {value}")


@app.command()
def convert(
    weights: Annotated[str, typer.Argument(help="Name or path.", show_default=False)],
    output: Annotated[Path, typer.Argument(metavar="OUT.h5", help="File to write.", show_default=False)],
    backbone: BackboneName = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing output.")] = False,
    json: Json = False,
) -> None:
    """Write weights of any readable format as pool3's own HDF5 file, with a checksum on every chunk."""
    from pool3.backbones import get_backbone
    from pool3.commands.output import print_json
    from pool3.errors import WeightsError
    from pool3.weights.native import write_native

    if output.exists() and not overwrite:
        raise WeightsError(
            f"{output} exists and nothing was written; give --overwrite, or name another output."
        )
    loaded, made_for = _load(weights, backbone)
    write_native(output, loaded, get_backbone(made_for))
    if json:
        print_json({**_summary(loaded, made_for), "output": str(output)})
    else:
        print(output)


def _load(weights: str, backbone: str | None) -> tuple[LoadedWeights, str]:
    """Load weights without the network, for the backbone given or the one that follows from their name."""
    from pool3.backbones import get_backbone
    from pool3.weights import KNOWN_WEIGHTS, load_weights

    known = KNOWN_WEIGHTS.get(weights)
    name = backbone or (known.backbone if known else "inception_v3")
    return load_weights(get_backbone(name), weights, offline=True, need_dense=False), name


def _summary(loaded: LoadedWeights, backbone: str) -> dict[str, Any]:
    return {
        "name": loaded.name,
        "backbone": backbone,
        "format": loaded.format,
        "path": str(loaded.path) if loaded.path else None,
        "sha256": loaded.sha256,
        "tensor_digest": loaded.tensor_digest,
        "tensors": len(loaded.tensors),
        "classifier": "softmax/weights" in loaded.tensors,
    }
