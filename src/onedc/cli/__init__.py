"""The `onedc` command. Thin: parse, call, print.

Modules here import nothing heavy at their top; `onedc --help` and `onedc info` stay fast that way.
"""
