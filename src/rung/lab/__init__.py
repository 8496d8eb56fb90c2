"""What people do with runs: look inside, compare, diagnose, label."""
