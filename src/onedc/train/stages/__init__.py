"""What is trained against what: the stages, and what the loop asks of them."""
