"""The networks. torch lives here; files, command lines and bytes do not."""
