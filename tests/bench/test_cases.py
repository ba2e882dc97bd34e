"""What is declared: names that fit together, references for every throughput, operations as TensorFlow counts them."""

from pathlib import Path

import pytest

from bench.__main__ import QUICK
from bench.gate.gate import CASES
from pool3.runtime import start_tensorflow

start_tensorflow()

from bench.cases import BLOG_LOOP, cases, chosen, network  # noqa: E402 - quietly after TensorFlow


def names(found) -> list[str]:
    return [case.name for case in found]


def test_names_fit_together() -> None:
    every = cases(Path())
    assert len(set(names(every))) == len(every)
    assert {case.limit for case in every} - {""} <= set(names(every))
    assert {BLOG_LOOP, *QUICK, *CASES} <= set(names(chosen(Path())))


def test_every_throughput_has_a_limit_but_the_limits() -> None:
    every = cases(Path())
    limits = {case.limit for case in every}
    for case in every:
        assert bool(case.limit) is (case.unit in {"images", "rows"} and case.name not in limits), case.name


def test_what_the_device_does_not_compute_quicker_runs_by_name_alone(monkeypatch) -> None:
    monkeypatch.setattr(network, "quick_precisions", lambda: {"float32"})
    default = names(chosen(Path()))
    assert "forward/inception_v3/float32/8" in default
    assert not [name for name in default if "float16" in name and not name.startswith("kernel/")]
    assert "forward/inception_v3/bfloat16/8" in names(chosen(Path(), ["forward/inception_v3/bfloat16"]))


def test_a_named_case_brings_what_it_stands_beside() -> None:
    assert names(chosen(Path(), ["decode/32x32"])) == [BLOG_LOOP, "decode/32x32", "decode/32x32/plain"]
    assert names(chosen(Path(), ["svm/fit/10000"])) == ["svm/fit/10000", "svm/fit/10000/plain"]
    assert chosen(Path(), ["nothing"]) == []


@pytest.mark.parametrize("backbone", network.OPERATIONS)
def test_operations_are_those_that_tensorflow_counts(backbone) -> None:
    import tensorflow as tf

    from pool3.backbones import get_backbone
    from pool3.weights import random_tensors

    declared = get_backbone(backbone)
    built = declared.build(random_tensors(declared, 0), (declared.main_feature,))
    size = declared.preprocessing.size
    traced = tf.function(lambda x: built(x)[declared.main_feature]).get_concrete_function(
        tf.TensorSpec((1, size, size, 3))
    )
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
    counted = profiler.profile(traced.graph, options=options.with_empty_output().build()).total_float_ops
    assert network.OPERATIONS[backbone] == pytest.approx(counted, rel=2e-3)
