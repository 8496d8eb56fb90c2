"""Gymnasium and envpool environments: stepped in rows, collected, normalised, evaluated, filmed."""
