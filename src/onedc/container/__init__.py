"""The .1dc file: header, payload and what stands beside the picture; and what a file says about itself."""
