"""What holds the process tree of an attempt together: a cgroup where the machine gives one, else its session."""
