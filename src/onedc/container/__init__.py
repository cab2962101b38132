"""The .1dc file: its header, what stands round its payload, and what it says about itself. Plain Python."""
