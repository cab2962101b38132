"""`onedc serve`: the codec behind a page for people and two HTTP routes for programs.

`service` is the codec with limits and a queue, `routes` and `page` are its two faces, `server` runs both.
"""
