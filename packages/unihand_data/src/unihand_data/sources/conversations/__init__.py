"""Vision-text corpora as their owners publish them: one reader per container, one YAML per corpus, one row form."""
