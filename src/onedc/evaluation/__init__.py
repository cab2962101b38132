"""Measuring codecs: metrics, baselines, matched rates, summaries, curves and comparison pages.

Everything works on real files and on 8-bit pictures. Nothing here knows how onedc codes an image.
"""
