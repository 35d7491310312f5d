"""Road worlds with exact truth, and what a LiDAR and a map with errors make of them."""
