"""`onedc serve`: the codec behind HTTP routes and a page that uses them.

`service` is the codec with limits and a queue, `routes` are its face, and `server` runs both and the files of
the page. `page/page.js` is built from web/page by `make page`.
"""
