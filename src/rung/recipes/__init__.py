"""Settings that go together, one YAML file a recipe; `rung train ... --recipe NAME` lays them under your own."""
