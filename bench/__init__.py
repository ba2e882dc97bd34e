"""pool3's benchmarks: ``python -m bench``. Not part of the wheel."""
