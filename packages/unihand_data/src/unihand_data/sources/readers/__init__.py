"""One module per container kind; each class is named in ``registry.READERS`` and imported when used."""
