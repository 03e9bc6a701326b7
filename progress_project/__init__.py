"""One deployment of the app `ingestion_progress`: the project that `scripts/run` serves."""
