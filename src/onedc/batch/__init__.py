"""`onedc batch`: whole data sets to .1dc files and back, in one process or on a cluster."""
