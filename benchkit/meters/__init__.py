"""One file an instrument; each says why it cannot measure instead of answering zero."""
