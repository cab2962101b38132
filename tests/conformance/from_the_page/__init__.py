"""A second decoder of .1dc files, written from docs/format.md, the tables and the weights file alone.

It gives a file's integers: header, sections, z, the values of y with their tables, and y_hat. It shares no
code with the package, needs numpy alone, and is a start for ports. Sections are those of the page.
"""
