"""What a stream costs, measured side by side with others: `scripts/bench`, docs/scale.md."""
