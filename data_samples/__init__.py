"""Small sample inputs with gold labels, and the script that builds them."""
