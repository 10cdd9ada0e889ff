"""The page that a reviewer looks at: everything a bundle does, re-read from what was compiled, on one HTML page.

`gather` reads a bundle; each module beside it makes one section; `page` puts them together.
"""
