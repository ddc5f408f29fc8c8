"""The demo cell: a generated belt, every usable backend, and what is shown of it."""
