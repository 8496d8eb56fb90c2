"""What people prefer: pairs, who answered what, and the page on which they do."""
