"""The commands of ``beingh05``: one module each, with ``add(parsers)`` and ``run(chosen)``."""
