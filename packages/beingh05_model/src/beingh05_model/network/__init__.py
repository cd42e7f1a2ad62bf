"""The network: sizes, attention over two experts, the flow head, and what the paper adds to it."""
