"""A map as one self-contained HTML page."""

from __future__ import annotations

from typing import Any

from pool3.pages import Scatter, Sprites, render
from pool3.projection.result import ProjectResult
from pool3.store.table import Table


def caption(result: ProjectResult, table: Table) -> str:
    """File, network and method in a line, for pictures."""
    made = table.provenance
    return f"{len(result.rows):,} images · {made.backbone} {made.feature} · {result.settings.described()}"


def page(result: ProjectResult, table: Table, sprites: Sprites | None) -> str:
    """Render the page.

    Args:
        result: the map.
        table: the n rows that were placed.
        sprites: their pictures, or None.
    """
    made, quality = table.provenance, result.quality
    facts: dict[str, Any] = {
        "Feature file": result.features.name,
        "Images": f"{len(result.rows):,}"
        + ("" if len(result.rows) == result.n_total else f" of {result.n_total:,}, drawn within each class"),
        "Network": f"{made.backbone}, feature {made.feature}, {table.features.shape[1]:,} numbers, {made.precision}",
        "Weights": f"{made.weights}, SHA-256 {made.weights_sha256}",
        "Source": made.source,
        "Method": result.settings.described(),
    }
    if result.pca_variance is not None:
        facts["Variance kept by PCA"] = f"{100 * result.pca_variance:.1f} %"
    facts["Computed by"] = f"{result.backend} {result.backend_version} ({result.backend_reason})"
    facts["Trustworthiness"] = f"{quality.trustworthiness:.4f}"
    facts["kNN preservation"] = f"{quality.knn_preservation:.4f}"
    facts["Both at"] = f"k = {quality.k}, asked of {quality.rows:,} rows"
    map_ = Scatter(
        places=result.places,
        ids=table.ids,
        classes=table.labels,
        class_names=table.label_names,
        sprites=sprites,
    )
    name = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}[result.settings.method]
    return render(
        "project.html",
        title=f"{name} of {result.features.name}",
        styles=["scatter.css"],
        scripts=["scatter.js"],
        facts=facts,
        method=result.settings.method,
        note=result.images_note,
        data=map_.data(),
    )
