"""One module for each kind of file that counts come in."""
