"""Speed beside what a user would run instead, on the CPU, measured in one run: ``python -m bench.peers``.

One process a contender, since thread pools in one process disturb each other: each is prepared, warmed up, compared
with pool3's float32 features and then idle; the coordinator asks them in turn for one timed sample each.
"""
