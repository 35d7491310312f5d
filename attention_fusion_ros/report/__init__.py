"""What a run looks like: records, plots, contact sheets, and a page that shows them."""
