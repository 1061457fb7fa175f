"""What the scores were worth out of sample: measures, costs, backtest, validation, significance."""
