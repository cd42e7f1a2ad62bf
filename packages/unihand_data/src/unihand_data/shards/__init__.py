"""The on-disk contract: schemas, writer, reader, catalogue."""
