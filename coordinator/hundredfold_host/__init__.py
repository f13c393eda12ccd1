"""The host: the process without user code that launches, measures, kills and reaps on one machine."""
