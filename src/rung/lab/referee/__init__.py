"""The referee: what a loss really climbs, by exact enumeration of a policy small enough for it."""
