"""``pool3 tune``: the batch size that is quickest here."""

from __future__ import annotations

from typing import Annotated

import typer


def tune(
    backbone: Annotated[
        str, typer.Option(help="inception_v3, inception_v3_keras or efficientnet_lite0.")
    ] = "inception_v3",
    precision: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    devices: Annotated[str, typer.Option(help="auto, cpu, gpu or gpu:0,1: one replica each.")] = "auto",
    xla: Annotated[str, typer.Option(help="Compile by XLA: auto (on a GPU), on or off.")] = "auto",
    batch_sizes: Annotated[
        str, typer.Option(metavar="N,N…", help="Candidates. Default: powers of two that suit the device.")
    ] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Samples of each candidate.")] = 3,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Measure which batch size and how many steps at a time are quickest, for `--batch-size auto` to take.

    Takes a minute or two on a quiet machine. The choice is kept by network, precision, devices and TensorFlow version.
    """
    from pool3.commands.output import note, print_aligned, print_json, progress, warnings_as_notes
    from pool3.errors import SpecError
    from pool3.runtime import start_tensorflow
    from pool3.spec import ExtractSpec, parse_count

    spec = ExtractSpec(backbone=backbone, precision=precision, devices=devices, xla=xla)
    sizes = [parse_count(text.strip(), "--batch-sizes") for text in batch_sizes.split(",") if text.strip()]
    if 0 in sizes:
        raise SpecError("--batch-sizes takes numbers of at least 1; received auto.")
    start_tensorflow()
    from pool3 import tuning
    from pool3.backbones import get_backbone
    from pool3.devices import choose_devices
    from pool3.precision import expected

    network, placement = get_backbone(spec.backbone), choose_devices(spec.devices)
    if placement.warning:
        note(placement.warning)
    usual = tuning.GPU_CANDIDATES if placement.on_gpu else tuning.CPU_CANDIDATES
    dtype, by_xla = expected(spec.precision, network, placement), spec.uses_xla(on_gpu=placement.on_gpu)
    with warnings_as_notes(), progress("measuring", "samples") as report:
        found = tuning.tune(
            network,
            placement,
            dtype,
            xla=by_xla,
            batch_sizes=sizes or usual,
            rounds=rounds,
            progress=report,
        )
    path = tuning.remember(network, placement, dtype, found.best, xla=by_xla)
    facts = found.to_dict() | {"backbone": network.name, "precision": dtype, "device": placement.description}
    if json:
        print_json(facts | {"cache": str(path)})
        return
    import statistics

    rows = {"batch size × streams": "images/s, median and range"}
    for shape, rates in sorted(found.rates.items()):
        mark = "  ← taken" if shape == found.best else ""
        name = f"{shape.batch_size} × {shape.streams}"
        rows[name] = f"{statistics.median(rates):.1f} ({min(rates):.1f} to {max(rates):.1f}){mark}"
    print_aligned(rows)
    note(f"kept in {path} for {network.name} in {dtype} on {placement.description}")
