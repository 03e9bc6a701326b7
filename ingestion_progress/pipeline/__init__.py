"""The reference ingestion: a separate Django app that is an ordinary client of the tracker."""
