"""From integers to bytes and back: frozen tables, the range coder, the z prior.

Knows numpy; must not know torch, images, files or the header.
"""
