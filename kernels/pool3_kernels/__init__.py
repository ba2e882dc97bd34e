"""Numeric kernels: each a folder with a plain reference, a fast form, and the cases that tests and benches share."""
