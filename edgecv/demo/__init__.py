"""The demo cell: generated scenes of nuts, bolts and washers, and what is shown with them."""
