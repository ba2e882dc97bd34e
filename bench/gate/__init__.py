"""The regression gate: is this tree slower than another one, on this machine, now?

``python -m bench gate --base REF`` runs both trees in pairs of fresh processes and decides by `bench.gate.decision`.
"""
