"""Access: permissions to view and start jobs, stream tokens, and the users behind them."""
