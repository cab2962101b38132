"""Networks that training alone has, and files of pretrained ones."""
