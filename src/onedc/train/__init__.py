"""Training: recipes, data, one loop, and one file per stage. accelerate is imported in this room only."""
