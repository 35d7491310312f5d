"""Bird's-eye-view grids: where cells lie, what LiDAR and map put into them."""
