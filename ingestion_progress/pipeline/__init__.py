"""The reference ingestion: an ordinary client of the tracker, and a Django app of its own."""
