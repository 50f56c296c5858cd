"""Pictures, numbers and the page that shows them."""
