"""What NSE traded and when: symbols, sessions, bars, their quality, adjustment and storage."""
