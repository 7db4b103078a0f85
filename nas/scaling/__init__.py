"""Auto-scaling: a network made larger or smaller, to limits or to a family of sizes."""
