"""The subcommands of ``unihand``: each function is one command and returns its exit code."""
