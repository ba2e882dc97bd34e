"""`ImageFeatures`: images in, features of a trained network out, as scikit-learn's own transformers do."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from pool3.backbones import get_backbone
from pool3.errors import SourceError, SpecError, WeightsError
from pool3.sklearn.networks import network
from pool3.sources import ItemSource, Source, as_source
from pool3.spec import ExtractSpec
from pool3.store import Failure

ERRORS = ("raise", "nan")
"""What may become of an image that cannot be read or decoded."""

_NAMED = 3
"""Images that such a message names."""


class ImageFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Features of a trained network, one row an image, in order.

    Nothing is learnt from the images: ``fit`` loads the network and records the digest of its weights. A fitted
    transformer holds these digests and its settings, not the network, which each process keeps by itself; where another
    process or machine has other weights under the same name, ``transform`` refuses to go on.

    Rows equal those that `pool3.extract` writes with the same settings, bit for bit at one batch size.

    Images are a list (or Series, object array, single column of a table) of paths, of files' bytes, or of uint8 arrays
    (H, W, 3) or (H, W) of any sizes; or one uint8 array (N, H, W, 3) or (N, H, W).

    Args:
        backbone: name of the network; see `pool3.backbones.BACKBONES`.
        weights: name in the registry, path, or ``random:SEED``; None for the backbone's own, fetched if need be.
        feature: name of the feature; empty for the backbone's main one.
        precision: dtype of the convolutions: ``float32``, ``bfloat16`` or ``float16``. There is no ``auto``, since that
            looks at the images of a run, and the rows of two calls have to match.
        batch_size: images a step, however few there are; 0 lets pool3 choose one for the device.
        workers: batches decoded at a time; 0 lets pool3 choose. No number depends on it.
        resize: one of `pool3.backbones.RESIZES`; empty for the backbone's own.
        fast_decode: decode large JPEGs at a fraction of their size.
        resize_on: ``auto``, ``host`` or ``device``.
        devices: ``auto``, ``cpu``, ``gpu`` or ``gpu:0,1``.
        xla: compile the network by XLA: ``auto`` (on a GPU), ``on`` or ``off``.
        offline: never fetch weights.
        errors: what becomes of an image that cannot be read or decoded: ``raise``, or ``nan`` for a row of NaN and a
            warning that counts them. No image is ever left out.

    Attributes:
        tensor_digest_: SHA-256 of the weights' tensors, whatever the format of their file.
        weights_sha256_: SHA-256 of the file of weights.
    """

    def __init__(
        self,
        backbone: str = "inception_v3",
        *,
        weights: str | None = None,
        feature: str = "",
        precision: str = "float32",
        batch_size: int = 0,
        workers: int = 0,
        resize: str = "",
        fast_decode: bool = False,
        resize_on: str = "auto",
        devices: str = "auto",
        xla: str = "auto",
        offline: bool = False,
        errors: str = "raise",
    ) -> None:
        self.backbone = backbone
        self.weights = weights
        self.feature = feature
        self.precision = precision
        self.batch_size = batch_size
        self.workers = workers
        self.resize = resize
        self.fast_decode = fast_decode
        self.resize_on = resize_on
        self.devices = devices
        self.xla = xla
        self.offline = offline
        self.errors = errors

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002, N803 - scikit-learn's names
        """Check the settings and the kind of the images, load the network, and record the digest of its weights.

        Args:
            X: images; none is read.
            y: taken and not used.

        Raises:
            SpecError: a setting is none that pool3 knows.
            SourceError: `X` is nothing that images can be.
            Pool3Error: the weights, the device or a library cannot be had.
        """
        spec = self._spec()
        self._source(X)
        weights = network(spec).extractor.weights
        self.tensor_digest_ = weights.tensor_digest
        self.weights_sha256_ = weights.sha256
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Compute features.

        Args:
            X: N images.

        Returns:
            (N, D) float32, a row an image, in order; or what ``set_output`` asks for.

        Raises:
            sklearn.exceptions.NotFittedError: it is not fitted.
            SourceError: `X` is nothing that images can be, or with ``errors="raise"`` an image cannot be read or
                decoded; the message names the first few.
            WeightsError: the weights are not those that it was fitted with.
            Pool3Error: as `fit` raises.
        """
        check_is_fitted(self)
        spec = self._spec()
        images = self._source(X)
        loaded = network(spec)
        found = loaded.extractor.weights
        if found.tensor_digest != self.tensor_digest_:
            raise WeightsError(
                f"the weights {found.name} of {spec.backbone} are not those that this transformer was fitted with "
                f"(tensor digest {found.tensor_digest[:12]}…, fitted with {self.tensor_digest_[:12]}…); name those by "
                "weights=PATH, or fit it and what stands on it again"
            )
        features, failures = loaded.rows(images)
        if failures:
            self._tell(failures, images)
        return features

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Name the columns: the feature's name and a number, such as ``pool_3_0``.

        Args:
            input_features: taken and not used, as of any transformer whose input has no columns.
        """
        spec = self._spec()
        width = int(np.prod(get_backbone(spec.backbone).features[spec.feature]))
        return np.asarray([f"{spec.feature}_{number}" for number in range(width)], dtype=object)

    def _spec(self) -> ExtractSpec:
        """The settings, checked: scikit-learn wants that when they are used, not when they are set."""
        if self.errors not in ERRORS:
            raise SpecError(f"Unknown errors {self.errors!r}; choose one of {', '.join(ERRORS)}.")
        if self.precision == "auto":
            raise SpecError(
                "The precision auto looks at the images of a run, so that the rows of two calls might not match; "
                "choose float32, bfloat16 or float16."
            )
        given = self.get_params(deep=False)
        del given["errors"]
        return ExtractSpec(**given)

    def _source(self, X: Any) -> Source:  # noqa: N803
        return as_source(X)

    def _tell(self, failures: list[Failure], images: Source) -> None:
        """Raise or warn, naming the first few."""
        named = []
        for failure in failures[:_NAMED]:
            name = images.name(failure.index) if isinstance(images, ItemSource) else failure.id
            named.append(f"{name}: {failure.message} ({failure.stage})")
        more = f" and {len(failures) - _NAMED:,} more" if len(failures) > _NAMED else ""
        what = (
            f"{len(failures):,} of {len(images):,} images cannot be read or decoded: {'; '.join(named)}{more}"
        )
        if self.errors == "raise":
            raise SourceError(f"{what}; mend them or leave them out, or ask for rows of NaN by errors='nan'")
        warnings.warn(f"{what}; their rows are NaN", stacklevel=4)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True  # images have no columns to count or to name
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []  # uint8 pixels become float32
        return tags
