"""Robot episodes: raw numbers to slots and actions, checks of what a data-set file declares, spans, rows."""
