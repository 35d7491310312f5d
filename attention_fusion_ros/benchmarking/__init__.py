"""Made-up sweeps of a fixed size, and what is measured with them."""
