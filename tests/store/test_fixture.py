"""Files that older versions wrote are read as they were meant."""

import numpy as np
import pytest

from pool3.store import SCHEMA, info, open_features
from tests.store.examples import INPUTS, NAMES, PROVENANCE, make_rows
from tests.store.make_fixture import FAILED, fixture


@pytest.mark.parametrize("schema", range(1, SCHEMA + 1))
def test_a_file_of_each_schema_is_read(schema) -> None:
    expected = make_rows(0, INPUTS, failed=FAILED)
    with open_features(fixture(schema)) as file:
        np.testing.assert_array_equal(file.features[:], expected.features)
        assert file.ids == expected.ids
        np.testing.assert_array_equal(file.labels, expected.labels)
        assert file.label_names == NAMES
        np.testing.assert_array_equal(file.source_index, expected.source_index)
        np.testing.assert_array_equal(file.content_sha256, expected.content_sha256)
        assert file.failures == expected.failures
        assert file.provenance == PROVENANCE
        assert (file.inputs, file.parts) == (INPUTS, [])
        assert [(part["start"], part["stop"]) for part in file.environments] == [(0, INPUTS)]
    assert info(fixture(schema))["state"] == "sealed"
