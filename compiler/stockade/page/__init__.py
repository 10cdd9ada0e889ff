"""HTML pages that stand alone: no script, no other file, nothing that is not escaped; the same bytes every time.

`document` puts sections together; `parts` has what stands in them; `markup` makes every element.
"""
