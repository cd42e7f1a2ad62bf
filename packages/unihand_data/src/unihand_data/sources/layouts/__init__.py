"""One module per folder layout: ``list_items`` finds the items, ``load`` reads one."""
