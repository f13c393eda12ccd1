"""The coordinator: the daemon with the API, the queue and the scheduler, and the command line."""
