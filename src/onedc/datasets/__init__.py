"""Data sets of pictures, in whatever form they come: names, encoded bytes and captions. Knows no codec."""
