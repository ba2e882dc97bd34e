"""The subcommands of ``pool3``, one module each. Only typer is imported at module level: ``--help`` stays quick."""
